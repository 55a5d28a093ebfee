package org.edgeasc.demo

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException
import com.google.ai.edge.litert.TensorBuffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.edgeasc.core.Contract
import org.edgeasc.core.ContractException
import org.edgeasc.core.ElementType
import org.edgeasc.core.Model
import org.edgeasc.core.TensorSpec
import org.edgeasc.core.TfliteMetadata
import org.edgeasc.core.alternate
import org.edgeasc.core.clear
import org.edgeasc.core.dequantise
import org.edgeasc.core.write

/**
 * A TFLite artefact in LiteRT, on the processor.
 *
 * States live in two alternating sets of buffers: a step writes one set, and the next step reads it in place.
 */
class LiteRtModel private constructor(private val model: CompiledModel, override val contract: Contract) : Model {
    private val signature = contract.step
    private val source = model.createInputBuffer(signature.source.name, signature.name)
    private val logits = model.createOutputBuffer(signature.logits.name, signature.name)
    private val states: List<Map<String, TensorBuffer>> = listOf(
        signature.states.associate { it.name to model.createInputBuffer(it.name, signature.name) },
        signature.feeders.entries.associate { (name, spec) -> name to model.createOutputBuffer(spec.name, signature.name) },
    )
    private val steps = signature.alternate(source, logits, states)
    // LiteRT's interface has no array of 16 bits; its buffers take the bytes of one as they are.
    private val integers = signature.source.takeIf { it.type == ElementType.INT16 }?.let {
        ByteBuffer.allocate(it.size * it.type.bytes).order(ByteOrder.nativeOrder())
    }
    private var current = 0

    override val engine = "litert"

    init {
        reset()
    }

    override fun reset() {
        current = 0
        for (spec in signature.states) clear(spec, states[0].getValue(spec.name))
    }

    override fun step(input: FloatArray, logits: FloatArray) {
        if (integers == null) {
            source.writeFloat(input)
        } else {
            signature.source.write(input, integers)
            source.writeInt8(integers.array())
        }
        val (inputs, outputs) = steps[current]
        model.run(inputs, outputs, signature.name)
        current = 1 - current
        this.logits.readFloat().copyInto(logits)
    }

    override fun state(name: String): FloatArray {
        val spec = signature.states.single { it.name == name }
        val buffer = states[current].getValue(name)
        return if (spec.type == ElementType.FLOAT32) buffer.readFloat() else spec.dequantise(ByteBuffer.wrap(buffer.readInt8()))
    }

    override fun close() {
        (states.flatMap { it.values } + source + logits).forEach(TensorBuffer::close)
        model.close()
    }

    private fun clear(spec: TensorSpec, buffer: TensorBuffer) = when (spec.type) {
        ElementType.FLOAT32 -> buffer.writeFloat(FloatArray(spec.size))
        ElementType.INT8 -> buffer.writeInt8(ByteArray(spec.size).also { spec.clear(ByteBuffer.wrap(it)) })
        else -> throw ContractException("state ${spec.name} is ${spec.type}; LiteRT's interface supports float32 and int8 only")
    }

    companion object {
        /**
         * Opens an artefact among the app's assets.
         *
         * @throws ContractException not a TFLite file, or one without a usable contract.
         */
        fun open(assets: AssetManager, path: String, threads: Int = 1): LiteRtModel {
            val contract = TfliteMetadata.contract(assets.open(path).use { it.readBytes() })
            try {
                val options = CompiledModel.Options(Accelerator.CPU)
                options.cpuOptions = CompiledModel.CpuOptions(threads, null, null)
                val model = CompiledModel.create(assets, path, options)
                try {
                    return LiteRtModel(model, contract)
                } catch (error: Throwable) {
                    model.close()
                    throw error
                }
            } catch (error: LiteRtException) {
                throw ContractException("$path: LiteRT does not open it (${error.message})", error)
            } catch (error: LinkageError) {
                throw ContractException("LiteRT is not in this build of the app, or not for this processor", error)
            }
        }
    }
}
