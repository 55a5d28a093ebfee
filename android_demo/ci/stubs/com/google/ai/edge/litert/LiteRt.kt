@file:Suppress("UNUSED_PARAMETER", "unused")

package com.google.ai.edge.litert

import android.content.res.AssetManager

// The signatures of LiteRT's library that the app uses; Gradle builds with the library itself.

enum class Accelerator { CPU }

class LiteRtException : Exception()

class TensorBuffer : AutoCloseable {
    fun writeFloat(data: FloatArray): Unit = TODO()

    fun writeInt8(data: ByteArray): Unit = TODO()

    fun readFloat(): FloatArray = TODO()

    fun readInt8(): ByteArray = TODO()

    override fun close(): Unit = TODO()
}

class CompiledModel : AutoCloseable {
    data class CpuOptions(val numThreads: Int?, val xnnPackFlags: Int?, val xnnPackWeightCachePath: String?)

    class Options(vararg val accelerators: Accelerator) {
        var cpuOptions: CpuOptions? = null
    }

    fun createInputBuffer(inputName: String, signature: String?): TensorBuffer = TODO()

    fun createOutputBuffer(outputName: String, signature: String?): TensorBuffer = TODO()

    fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String?): Unit = TODO()

    override fun close(): Unit = TODO()

    companion object {
        @JvmStatic
        fun create(assetManager: AssetManager, assetName: String, options: Options): CompiledModel = TODO()
    }
}
