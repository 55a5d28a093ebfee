package org.edgeasc.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Reads the metadata of a TFLite file. It reads the parts of a flatbuffer that this needs, and checks every offset.
 *
 * A table starts with the signed distance back to its vtable, which holds two sizes and then, for each field, its
 * distance from the table, 0 if absent. A string, vector or table is referenced by its distance from the reference.
 */
object TfliteMetadata {
    private const val IDENTIFIER = "TFL3"
    private const val MODEL_BUFFERS = 4
    private const val MODEL_METADATA = 6
    private const val METADATA_NAME = 0
    private const val METADATA_BUFFER = 1
    private const val BUFFER_DATA = 0

    /**
     * Returns the contract in a TFLite file, whose digest is verified first.
     *
     * @throws ContractException not a TFLite file, a damaged one, or one without a usable contract.
     */
    fun contract(file: ByteArray): Contract {
        if (file.size < 8 || String(file, 4, 4, Charsets.ISO_8859_1) != IDENTIFIER) {
            throw ContractException("not a TFLite file (no $IDENTIFIER mark); expected one that edge-asc exported")
        }
        Seal.check(file)
        val text = try {
            find(ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN))
        } catch (error: IndexOutOfBoundsException) {
            throw ContractException("damaged TFLite file: an offset leads out of it; copy it again", error)
        }
        return Contract.parse(text ?: throw ContractException("no contract in this TFLite file; export it with edge-asc"))
    }

    private fun find(data: ByteBuffer): String? {
        val model = Table(data, data.getInt(0))
        for (entry in model.tables(MODEL_METADATA)) {
            if (String(entry.bytes(METADATA_NAME)) == Contract.METADATA_KEY) {
                val index = entry.int(METADATA_BUFFER)
                val buffer = model.tables(MODEL_BUFFERS).elementAtOrNull(index)
                    ?: throw ContractException("damaged TFLite file: buffer $index is missing; copy it again")
                return String(buffer.bytes(BUFFER_DATA))
            }
        }
        return null
    }

    private class Table(private val data: ByteBuffer, private val position: Int) {
        private val vtable = position - data.getInt(position)
        private val size = data.getShort(vtable).toInt()

        private fun field(number: Int): Int? {
            val entry = 4 + 2 * number
            val offset = if (entry < size) data.getShort(vtable + entry).toInt() and 0xFFFF else 0
            return if (offset == 0) null else position + offset
        }

        fun int(number: Int): Int = field(number)?.let(data::getInt) ?: 0

        private fun vector(number: Int): Pair<Int, Int> {
            val at = field(number) ?: return 0 to 0
            val start = at + data.getInt(at)
            return start + 4 to data.getInt(start)
        }

        fun bytes(number: Int): ByteArray {
            val (start, length) = vector(number)
            if (length < 0 || start < 0 || start > data.limit() - length) throw IndexOutOfBoundsException()
            return ByteArray(length) { data.get(start + it) }
        }

        fun tables(number: Int): Sequence<Table> {
            val (start, length) = vector(number)
            if (length < 0 || length > data.limit() / 4) throw IndexOutOfBoundsException()
            return (0 until length).asSequence().map { i ->
                val at = start + 4 * i
                Table(data, at + data.getInt(at))
            }
        }
    }
}
