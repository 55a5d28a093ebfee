package org.edgeasc.demo

import android.content.res.AssetManager
import org.edgeasc.core.Model
import org.edgeasc.ort.OrtModel

/** An engine, with the suffix of its artefacts. */
enum class Engine(val title: Int, val suffix: String) {
    ONNX_RUNTIME(R.string.onnxruntime, "-step.onnx"),
    LITERT(R.string.litert, ".tflite"),
}

/** The artefacts in the app's assets. */
class Artefacts(private val assets: AssetManager) {
    private val files = assets.list(FOLDER).orEmpty().sorted()

    /** Names of models, such as "fuse-int8". */
    val names: List<String> = files
        .flatMap { file -> Engine.entries.filter { file.endsWith(it.suffix) }.map { file.removeSuffix(it.suffix) } }
        .distinct()

    /** The file of a model for an engine; null where there is none. */
    fun file(name: String, engine: Engine): String? = (name + engine.suffix).takeIf { it in files }

    /** Opens a file; throws ContractException where it is not usable. */
    fun open(file: String): Model = when {
        file.endsWith(Engine.LITERT.suffix) -> LiteRtModel.open(assets, "$FOLDER/$file")
        else -> OrtModel.open(assets.open("$FOLDER/$file").use { it.readBytes() })
    }

    private companion object {
        const val FOLDER = "models"
    }
}
