package org.edgeasc.ort

import java.io.File
import kotlin.system.exitProcess
import org.edgeasc.core.Bench
import org.edgeasc.core.Device
import org.json.JSONArray
import org.json.JSONObject

/** Runs the phone's benchmark on this machine, of a plan's ONNX artefacts: `ASSETS MODEL RESULT`. */
fun main(arguments: Array<String>) {
    if (arguments.size != 3) {
        System.err.println("expected: ASSETS MODEL RESULT")
        exitProcess(2)
    }
    val (assets, name, result) = arguments
    val plan = JSONObject(File(assets, "bench/$name.json").readText())
    val variants = plan.getJSONArray("variants").run { List(length(), ::getJSONObject) }
    val kept = variants.filter { it.getString("name") == plan.getString("reference") || it.getString("file").endsWith(".onnx") }
    plan.put("variants", JSONArray(kept))
    val bench = Bench(plan, Device(), { File(assets, "bench/$it").readBytes() }) { file ->
        OrtModel.open(File(assets, "models/$file").readBytes())
    }
    File(result).writeText(bench.run(null, null) { _, _, _ -> }.toString())
}
