package org.edgeasc.core

import java.nio.ByteBuffer

/** One stream through an artefact's steps in an engine, which keeps the states. Not safe for use by several threads. */
interface Model : AutoCloseable {
    /** The contract inside the artefact. */
    val contract: Contract

    /** The engine and its version, such as "onnxruntime 1.29.0". */
    val engine: String

    /** Goes back to the start of a stream: every state is zero. */
    fun reset()

    /**
     * Runs a step on what the contract's input names: frames · mels features, frame after frame; or samples in [−1, 1], also where
     * the artefact takes integers. Writes the logits of all labels to [logits].
     */
    fun step(input: FloatArray, logits: FloatArray)

    /** The input state [name] of the next step, dequantised. */
    fun state(name: String): FloatArray
}

/**
 * Inputs and outputs of even and of odd steps, for an engine that writes states where the next step reads them.
 *
 * @param source the input of features or samples, in both.
 * @param logits the output of logits, in both.
 * @param states two sets of an engine's tensors for the states, by the names of the inputs.
 */
fun <T> Signature.alternate(source: T, logits: T, states: List<Map<String, T>>): List<Pair<Map<String, T>, Map<String, T>>> =
    List(2) { current ->
        val next = feeders.entries.associate { (name, spec) -> spec.name to states[1 - current].getValue(name) }
        (states[current] + (this.source.name to source)) to (next + (this.logits.name to logits))
    }

/** Fills [memory], of this tensor, with zeros, quantised where the tensor is. */
fun TensorSpec.clear(memory: ByteBuffer) {
    val zero = quantisation?.zeroPoint ?: 0
    for (i in 0 until size) {
        when (type) {
            ElementType.FLOAT32 -> memory.putFloat(4 * i, 0f)
            ElementType.INT16 -> memory.putShort(2 * i, zero.toShort())
            ElementType.INT8, ElementType.UINT8 -> memory.put(i, zero.toByte())
        }
    }
}

/** Writes values to [memory], of this tensor: as float, or as the nearest integers of 16 bits. */
fun TensorSpec.write(values: FloatArray, memory: ByteBuffer) {
    if (type == ElementType.FLOAT32) {
        for (i in values.indices) memory.putFloat(4 * i, values[i])
        return
    }
    require(type == ElementType.INT16) { "$name is $type; expected float32 or int16" }
    for (i in values.indices) {
        val rounded = Math.rint(values[i] * 32768.0)
        memory.putShort(2 * i, rounded.coerceIn(-32768.0, 32767.0).toInt().toShort())
    }
}

/** Dequantises the values of this tensor in [memory]. */
fun TensorSpec.dequantise(memory: ByteBuffer): FloatArray = FloatArray(size) { i ->
    val raw = when (type) {
        ElementType.FLOAT32 -> memory.getFloat(4 * i)
        ElementType.INT16 -> memory.getShort(2 * i).toFloat()
        ElementType.INT8 -> memory.get(i).toFloat()
        ElementType.UINT8 -> (memory.get(i).toInt() and 0xFF).toFloat()
    }
    quantisation?.let { (raw - it.zeroPoint) * it.scale } ?: raw
}
