package org.edgeasc.ort

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.edgeasc.core.Contract
import org.edgeasc.core.ContractException
import org.edgeasc.core.ElementType
import org.edgeasc.core.Model
import org.edgeasc.core.Seal
import org.edgeasc.core.TensorSpec
import org.edgeasc.core.alternate
import org.edgeasc.core.clear
import org.edgeasc.core.dequantise
import org.edgeasc.core.write

/**
 * An ONNX artefact in ONNX Runtime.
 *
 * States live in two alternating sets of memory: a step writes one set, and the next step reads it in place.
 */
class OrtModel private constructor(
    private val environment: OrtEnvironment,
    private val session: OrtSession,
    override val contract: Contract,
) : Model {
    private val signature = contract.step
    private val source = memory(signature.source)
    private val logits = memory(signature.logits)
    private val states = List(2) { signature.states.associate { spec -> spec.name to memory(spec) } }
    private val tensors = mutableListOf<OnnxTensor>()
    private val steps = signature.alternate(
        tensor(signature.source, source),
        tensor(signature.logits, logits),
        states.map { set -> signature.states.associate { it.name to tensor(it, set.getValue(it.name)) } },
    )
    private var current = 0

    override val engine: String = "onnxruntime ${environment.version}"

    init {
        reset()
    }

    override fun reset() {
        current = 0
        for (spec in signature.states) spec.clear(states[0].getValue(spec.name))
    }

    override fun step(input: FloatArray, logits: FloatArray) {
        val spec = signature.source
        require(input.size == spec.size) { "${input.size} values of ${spec.name}; expected ${spec.size}" }
        spec.write(input, source)
        val (inputs, outputs) = steps[current]
        session.run(inputs, outputs).close()
        current = 1 - current
        this.logits.asFloatBuffer().get(logits)
    }

    override fun state(name: String): FloatArray {
        val spec = signature.states.single { it.name == name }
        return spec.dequantise(states[current].getValue(name))
    }

    override fun close() {
        tensors.forEach(OnnxTensor::close)
        session.close()
    }

    private fun memory(spec: TensorSpec): ByteBuffer =
        ByteBuffer.allocateDirect(spec.size * spec.type.bytes).order(ByteOrder.nativeOrder())

    private fun tensor(spec: TensorSpec, memory: ByteBuffer): OnnxTensor {
        val shape = LongArray(spec.shape.size) { spec.shape[it].toLong() }
        val type = when (spec.type) {
            ElementType.FLOAT32 -> OnnxJavaType.FLOAT
            ElementType.INT8 -> OnnxJavaType.INT8
            ElementType.UINT8 -> OnnxJavaType.UINT8
            ElementType.INT16 -> OnnxJavaType.INT16
        }
        return OnnxTensor.createTensor(environment, memory, shape, type).also { tensors += it }
    }

    companion object {
        /**
         * Opens an artefact, whose digest is verified before the engine sees it.
         *
         * @throws ContractException not an ONNX file, or one without a usable contract.
         */
        fun open(file: ByteArray, threads: Int = 1): OrtModel {
            Seal.check(file)
            val environment = OrtEnvironment.getEnvironment()
            val session = OrtSession.SessionOptions().use { options ->
                options.setIntraOpNumThreads(threads)
                options.setInterOpNumThreads(1)
                try {
                    environment.createSession(file, options)
                } catch (error: OrtException) {
                    throw ContractException("ONNX Runtime cannot open it (${error.message}); copy the artefact again", error)
                }
            }
            try {
                val text = session.metadata.customMetadata[Contract.METADATA_KEY]
                    ?: throw ContractException("no contract in this ONNX file; export it with edge-asc")
                return OrtModel(environment, session, Contract.parse(text))
            } catch (error: Throwable) {
                session.close()
                throw error
            }
        }
    }
}
