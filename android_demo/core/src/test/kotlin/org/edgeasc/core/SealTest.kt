package org.edgeasc.core

import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Test

class SealTest {
    // The digits are those that edge_asc.seal.seal gives for this file.
    private val sealed = "head {\"file_sha256\":\"4156de32ee17332ecb0719a3481cbc7c5c59e7330f3be28553488cc3c3218614\"} tail".toByteArray()

    private fun assertRefused(expected: String, file: ByteArray) {
        val error = assertThrows(ContractException::class.java) { Seal.check(file) }
        assertTrue(error.message, expected in error.message!!)
    }

    @Test
    fun `a whole file is taken`() = Seal.check(sealed)

    @Test
    fun `no bit can change unnoticed`() {
        for (bit in 0 until 8 * sealed.size) {
            val damaged = sealed.copyOf()
            damaged[bit / 8] = (damaged[bit / 8].toInt() xor (1 shl bit % 8)).toByte()
            assertThrows(ContractException::class.java) { Seal.check(damaged) }
        }
        assertRefused("the file is damaged; copy it again", sealed + 0)
    }

    @Test
    fun `a digest must be there once`() {
        assertRefused("no digest inside the contract", "{}".toByteArray())
        assertRefused("no digest inside the contract", sealed + sealed)
    }

    @Test
    fun `artefacts of every format are whole, and no engine sees a damaged one`() {
        assumeTrue("no golden vectors: see the README", Golden.folder != null)
        val files = Golden.folder!!.listFiles { file -> file.extension in listOf("tflite", "onnx") }!!
        assertTrue(files.isNotEmpty())
        for (file in files) {
            val bytes = file.readBytes()
            Seal.check(bytes)
            bytes[bytes.size / 2] = (bytes[bytes.size / 2] + 1).toByte()
            assertRefused("the file is damaged", bytes)
            if (file.extension == "tflite") assertThrows(ContractException::class.java) { TfliteMetadata.contract(bytes) }
        }
    }
}
