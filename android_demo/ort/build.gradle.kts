plugins {
    alias(libs.plugins.kotlin.jvm)
}

kotlin {
    jvmToolchain(17)
    compilerOptions { allWarningsAsErrors = true }
}

dependencies {
    api(project(":core"))
    // The same interface on desktop and phone; the app brings the phone's library.
    compileOnly(libs.onnxruntime)
    testImplementation(libs.onnxruntime)
    testImplementation(libs.json)
    testImplementation(libs.junit)
}

tasks.test {
    // Written by `make android-assets`; see the README.
    systemProperty("org.edgeasc.golden", rootDir.resolve("../build/android/golden").path)
}
