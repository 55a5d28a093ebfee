"""References to Android in byte code, and their declarations in stubs."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_asc_android import api

Check = Callable[..., tuple[list[api.Reference], list[api.Reference]]]
pytestmark = pytest.mark.skipif(shutil.which("javac") is None, reason="no JDK: javac is not installed")

ANDROID = """
package android.app;
public class Activity extends android.content.Context {
    public static final int KEPT = Integer.parseInt("1");
    public Activity() {}
    public void show(int id) {}
    public void show(String[] names, Object other) {}
    public void vanished() {}
    public class Inner { public void turn(float by) {} }
}
"""
CONTEXT = "package android.content; public class Context { public Object find(Class<?> kind) { return null; } }"
APP = """
package app;
public class Main extends android.app.Activity {
    private int own;
    void mine() { own = KEPT; }
    void all() { mine(); show(3); show(new String[0], this); find(Main.class); new Inner().turn(1f); CALL }
}
"""
STUBS = {
    "content": """
import typing
class Context(java.lang.Object):
    def __init__(self) -> None: ...
    def find(self, kind: typing.Type[T], /) -> T: ...
""",
    "app": """
import typing
class Activity(android.content.Context):
    KEPT: typing.ClassVar[int] = ...
    def __init__(self) -> None: ...
    @typing.overload
    def show(self, id: int | java.jint | java.lang.Integer, /) -> None: ...
    @typing.overload
    def show(self, names: java.chaquopy.JavaArray[java.lang.String], other: java.lang.Object, /) -> None: ...
    class Inner(java.lang.Object):
        def __init__(self, outer: Activity, /) -> None: ...
        def turn(self, by: float | java.jfloat | java.lang.Float, /) -> None: ...
""",
}


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """A function that compiles the app with one more call, and returns all references and the missing ones."""
    for name, text in STUBS.items():
        (tmp_path / "android-stubs" / name).mkdir(parents=True)
        (tmp_path / "android-stubs" / name / "__init__.pyi").write_text(text)

    def compile_and_check(call: str = "") -> tuple[list[api.Reference], list[api.Reference]]:
        sources = {
            "android/app/Activity": ANDROID,
            "android/content/Context": CONTEXT,
            "app/Main": APP.replace("CALL", call),
        }
        for name, text in sources.items():
            path = tmp_path / "java" / f"{name}.java"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        files = sorted(map(str, (tmp_path / "java").rglob("*.java")))
        subprocess.run(["javac", "-d", str(tmp_path / "classes"), *files], check=True)
        used = api.list_references(tmp_path / "classes/app")
        return used, api.find_missing(used, tmp_path)

    return compile_and_check


def test_references_are_those_to_android_and_not_to_the_app(check: Check) -> None:
    used, missing = check()
    assert {(reference.owner, reference.name) for reference in used} == {
        ("android.app.Activity", "<init>"),
        ("android.app.Activity", "KEPT"),
        ("android.app.Activity", "show"),
        ("android.app.Activity", "find"),
        ("android.app.Activity.Inner", "<init>"),
        ("android.app.Activity.Inner", "turn"),
    }
    assert not missing


@pytest.mark.parametrize(("call", "name"), [("vanished();", "vanished"), ("super.vanished();", "vanished")])
def test_an_unknown_method_is_missing(check: Check, call: str, name: str) -> None:
    _, missing = check(call)
    assert [(reference.owner, reference.name) for reference in missing] == [("android.app.Activity", name)]
    assert "in app.Main" in str(missing[0])


def test_a_method_with_other_arguments_is_missing(check: Check, tmp_path: Path) -> None:
    stub = tmp_path / "android-stubs/app/__init__.pyi"
    stub.write_text(stub.read_text().replace("id: int | java.jint | java.lang.Integer", "id: float | java.jfloat"))
    api._module.cache_clear()
    _, missing = check()
    assert [(reference.name, reference.descriptor) for reference in missing] == [("show", "(I)V")]
