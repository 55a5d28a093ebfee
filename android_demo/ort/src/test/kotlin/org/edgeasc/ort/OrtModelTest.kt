package org.edgeasc.ort

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import kotlin.math.abs
import org.edgeasc.core.ContractException
import org.edgeasc.core.StreamingClassifier
import org.edgeasc.core.floats
import org.edgeasc.core.pcm
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Before
import org.junit.Test

/** The artefacts in the real engine, compared with the golden vectors. */
class OrtModelTest {
    private val folder = System.getProperty("org.edgeasc.golden")?.let(::File)?.takeIf { File(it, "golden.json").exists() }

    @Before
    fun `golden vectors exist`() = assumeTrue("no golden vectors: see the README", folder != null)

    private fun bytes(name: String) = File(folder, name).readBytes()

    private fun floats(name: String): FloatArray = floats(bytes(name))

    private fun doubles(name: String): DoubleArray {
        val values = ByteBuffer.wrap(bytes(name)).order(ByteOrder.LITTLE_ENDIAN).asDoubleBuffer()
        return DoubleArray(values.limit()) { values[it] }
    }

    private val golden by lazy { JSONObject(String(bytes("golden.json"))) }
    private val artefacts by lazy { golden.getJSONArray("artefacts").run { List(length(), ::getJSONObject) } }
    private val samples by lazy { pcm(bytes(golden.getString("samples"))) }

    private fun tolerance(name: String) = golden.getJSONObject("tolerances").getDouble(name)

    private fun largest(expected: FloatArray, row: Int, actual: FloatArray) =
        actual.indices.maxOf { abs(expected[row * actual.size + it] - actual[it]) }

    private fun largest(expected: DoubleArray, row: Int, actual: DoubleArray) =
        actual.indices.maxOf { abs(expected[row * actual.size + it] - actual[it]) }

    @Test
    fun `streams the same decisions as Python`() {
        assertTrue(artefacts.isNotEmpty())
        for (entry in artefacts) {
            val isFloat = entry.getString("scheme") == "none"
            val logits = floats(entry.getString("logits"))
            val probabilities = doubles(entry.getString("probabilities"))
            val decisions = entry.getJSONArray("decisions")
            val answers = entry.getJSONArray("answers")
            val unknown = entry.getJSONArray("unknown")
            var worst = 0f
            var likely = 0.0
            var step = 0
            OrtModel.open(bytes(entry.getString("file"))).use { model ->
                StreamingClassifier(model).push(samples, 0, samples.size) { decision ->
                    worst = maxOf(worst, largest(logits, step, decision.logits))
                    likely = maxOf(likely, largest(probabilities, step, decision.probabilities))
                    assertEquals("step $step", decisions.getInt(step), decision.index)
                    assertEquals("step $step", answers.getInt(step), decision.answer)
                    assertEquals("step $step", unknown.getBoolean(step), decision.unknown)
                    step++
                }
            }
            println("${entry.getString("file")}: $step steps, logits differ by $worst, probabilities by $likely")
            assertEquals(entry.getInt("steps"), step)
            // An integer artefact may round features that differ in their last bit to another step of its grid.
            if (isFloat) assertTrue("probabilities differ by $likely", likely <= tolerance("probabilities"))
            if (isFloat) assertTrue("logits differ by $worst", worst <= tolerance("logits"))
        }
    }

    @Test
    fun `decides like Python on the same input`() {
        for (entry in artefacts) {
            val inputs = floats(entry.getString("inputs"))
            val logits = floats(entry.getString("logits"))
            val probabilities = doubles(entry.getString("probabilities"))
            val steps = entry.getInt("steps")
            val size = inputs.size / steps
            OrtModel.open(bytes(entry.getString("file"))).use { model ->
                val classifier = StreamingClassifier(model)
                for (step in 0 until steps) {
                    val decision = classifier.decide(inputs.copyOfRange(step * size, (step + 1) * size))
                    val worst = largest(logits, step, decision.logits)
                    val likely = largest(probabilities, step, decision.probabilities)
                    assertTrue("${entry.getString("file")}, step $step: logits differ by $worst", worst <= tolerance("logits"))
                    assertTrue("step $step: probabilities differ by $likely", likely <= tolerance("probabilities"))
                }
            }
        }
    }

    @Test
    fun `keeps the same states as Python`() {
        for (entry in artefacts) {
            val isFloat = entry.getString("scheme") == "none"
            val files = entry.getJSONObject("states")
            val expected = files.keys().asSequence().map { "$it" }.associateWith { floats(files.getString(it)) }
            var worst = 0f
            var other = 0L
            var all = 0L
            var step = 0
            OrtModel.open(bytes(entry.getString("file"))).use { model ->
                val grids = model.contract.step.states.associate { it.name to (it.quantisation?.scale ?: 0f) }
                assertEquals(grids.keys, expected.keys)
                StreamingClassifier(model).push(samples, 0, samples.size) {
                    for ((name, values) in expected) {
                        val actual = model.state(name)
                        worst = maxOf(worst, largest(values, step, actual))
                        all += actual.size
                        val half = grids.getValue(name) / 2
                        other += actual.indices.count { abs(values[step * actual.size + it] - actual[it]) > half }
                    }
                    step++
                }
            }
            if (isFloat) {
                println("${entry.getString("file")}: states differ by $worst")
                assertTrue("states differ by $worst", worst <= tolerance("states"))
            } else {
                val share = other.toDouble() / all
                println("${entry.getString("file")}: $other of $all values of states lie on another step of their grid")
                assertTrue("$share of values differ", share <= tolerance("integer_states"))
            }
        }
    }

    @Test
    fun `a reset starts a new stream`() {
        for (entry in artefacts) {
            OrtModel.open(bytes(entry.getString("file"))).use { model ->
                val classifier = StreamingClassifier(model)
                val runs = List(2) {
                    classifier.reset()
                    buildList { classifier.push(samples, 0, 5 * 4096) { add(it.logits.copyOf()) } }
                }
                runs[0].zip(runs[1]).forEach { (a, b) -> assertArrayEquals(a, b, 0f) }
                assertEquals(5, runs[0].size)
            }
        }
    }

    @Test
    fun `two streams of an artefact do not disturb each other`() {
        val file = bytes(artefacts[0].getString("file"))
        OrtModel.open(file).use { one ->
            OrtModel.open(file).use { other ->
                val classifiers = listOf(StreamingClassifier(one), StreamingClassifier(other))
                val actual = List(2) { mutableListOf<FloatArray>() }
                for (offset in 0 until 5 * 4096 step 4096) {
                    for ((classifier, list) in classifiers.zip(actual)) {
                        classifier.push(samples, offset, 4096) { list += it.logits.copyOf() }
                    }
                }
                actual[0].zip(actual[1]).forEach { (a, b) -> assertArrayEquals(a, b, 0f) }
            }
        }
    }

    @Test
    fun `refuses a file that is not a model, and a wrong input`() {
        assertThrows(ContractException::class.java) { OrtModel.open(ByteArray(100)) }
        val file = bytes(artefacts[0].getString("file"))
        assertThrows(ContractException::class.java) { OrtModel.open(file.copyOf(file.size / 2)) }
        OrtModel.open(file).use { model ->
            assertThrows(IllegalArgumentException::class.java) { model.step(FloatArray(5), FloatArray(10)) }
        }
    }

    @Test
    fun `refuses a contract of a newer schema, or none`() {
        val file = String(bytes(artefacts[0].getString("file")), Charsets.ISO_8859_1)
        for ((from, to) in listOf(
            "\"schema_version\":3," to "\"schema_version\":7,",
            "edge_asc_contract" to "edge_asc_contrast",
        )) {
            assertTrue(from in file)
            val error = assertThrows(ContractException::class.java) {
                OrtModel.open(seal(file.replace(from, to)))
            }
            assertTrue(error.message, "update this app" in error.message!! || "no contract" in error.message!!)
        }
    }

    /** Returns the bytes of a file with the digest that fits its content. */
    private fun seal(file: String): ByteArray {
        val open = file.replace(Regex("\"file_sha256\":\"[0-9a-f]{64}\""), "\"file_sha256\":\"${"0".repeat(64)}\"")
        val digest = MessageDigest.getInstance("SHA-256").digest(open.toByteArray(Charsets.ISO_8859_1))
        val digits = digest.joinToString("") { "%02x".format(it) }
        return open.replace("\"file_sha256\":\"${"0".repeat(64)}", "\"file_sha256\":\"$digits").toByteArray(Charsets.ISO_8859_1)
    }
}
