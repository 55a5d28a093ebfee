package org.edgeasc.core

import java.security.MessageDigest

/**
 * The digest of an artefact, inside the contract that the file holds: SHA-256 of the whole file, in which the digits of the
 * digest are zeros. docs/contract.md describes it. It shows damage; it is not a signature.
 */
object Seal {
    private val FIELD = Regex("\"file_sha256\":\"([0-9a-f]{64})\"")

    /**
     * Makes sure that an artefact is the one that was exported.
     *
     * @throws ContractException the file is damaged, or holds no digest.
     */
    fun check(file: ByteArray) {
        val digits = FIELD.findAll(String(file, Charsets.ISO_8859_1)).map { it.groups[1]!! }.toList().singleOrNull()
            ?: throw ContractException(
                "no digest inside the contract (file_sha256): the file is damaged, or an older edge-asc wrote it; export it again",
            )
        val begin = digits.range.first
        val end = digits.range.last + 1
        val sha = MessageDigest.getInstance("SHA-256")
        sha.update(file, 0, begin)
        sha.update("0".repeat(end - begin).toByteArray())
        sha.update(file, end, file.size - end)
        val actual = sha.digest().joinToString("") { "%02x".format(it) }
        if (actual != digits.value) {
            throw ContractException(
                "SHA-256 is ${actual.take(12)}…, the contract says ${digits.value.take(12)}…: the file is damaged; copy it again",
            )
        }
    }
}
