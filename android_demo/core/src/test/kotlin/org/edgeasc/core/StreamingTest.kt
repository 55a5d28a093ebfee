package org.edgeasc.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Random
import java.util.concurrent.Semaphore
import kotlin.concurrent.thread
import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.exp
import kotlin.math.sin
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class StreamingTest {
    private val last = JSONObject().put("name", "last")

    /** Decisions by the rule for a clip. */
    private fun decisions(rule: String, samples: FloatArray, chunk: Int): List<Pair<Double, DoubleArray>> {
        val model = FakeModel(contractJson().put("decision", rule))
        val classifier = StreamingClassifier(model, model.contract.decision)
        val actual = mutableListOf<Pair<Double, DoubleArray>>()
        for (offset in samples.indices step chunk) {
            classifier.push(samples, offset, minOf(chunk, samples.size - offset)) {
                actual += it.time to it.probabilities.copyOf()
            }
        }
        return actual
    }

    @Test
    fun `a decision for each step, by the last logits`() {
        val actual = decisions("last", FloatArray(128 * 4), 100)
        assertEquals(listOf(0.008, 0.016, 0.024, 0.032), actual.map { it.first })
        // The logits of silence are ln(floor) throughout, the number of steps, and 0.
        val scores = doubleArrayOf(Math.log(1e-8), 4.0, 0.0).map(::exp)
        for (i in 0..2) assertEquals(scores[i] / scores.sum(), actual.last().second[i], 1e-6)
    }

    @Test
    fun `samples go to the model as they are, in any chunks`() {
        val random = Random(1)
        val samples = FloatArray(128 * 5 + 40) { random.nextFloat() - 0.5f }
        for (chunk in listOf(1, 100, 128, 300, samples.size)) {
            val classifier = StreamingClassifier(FakeModel(samplesJson("int16")))
            val actual = mutableListOf<Float>()
            for (offset in samples.indices step chunk) {
                classifier.push(samples, offset, minOf(chunk, samples.size - offset)) { actual += it.logits[0] }
            }
            assertEquals(List(5) { samples.copyOfRange(128 * it, 128 * (it + 1)).average().toFloat() }, actual)
        }
    }

    @Test
    fun `integers of 16 bits are the nearest ones, low byte first`() {
        val source = Contract.parse(samplesJson("int16").toString()).step.source
        val values = FloatArray(source.size)
        floatArrayOf(-1f, -1.5f, 1f, 0.5f, 1.4f / 32768, 258f / 32768).copyInto(values)
        val memory = ByteBuffer.allocate(2 * source.size).order(ByteOrder.LITTLE_ENDIAN)
        source.write(values, memory)
        assertEquals(listOf<Short>(-32768, -32768, 32767, 16384, 1, 258, 0), List(7) { memory.getShort(2 * it) })
        assertEquals(listOf<Byte>(2, 1), memory.array().slice(10..11))
    }

    @Test
    fun `samples that are not audio leave the stream as it was`() {
        val classifier = StreamingClassifier(FakeModel(samplesJson()))
        val actual = mutableListOf<Float>()
        classifier.push(FloatArray(100) { 0.5f }, 0, 100) { actual += it.logits[0] }
        for (value in listOf(Float.NaN, Float.POSITIVE_INFINITY, 30000f)) {
            assertThrows(AudioException::class.java) {
                classifier.push(FloatArray(50) { value }, 0, 50) { actual += it.logits[0] }
            }
        }
        classifier.push(FloatArray(28) { 0.5f }, 0, 28) { actual += it.logits[0] }
        assertEquals(listOf(0.5f), actual)
    }

    @Test
    fun `by the mean of all logits`() {
        val actual = decisions("mean", FloatArray(128 * 4), 100)
        val scores = doubleArrayOf(Math.log(1e-8), 2.5, 0.0).map(::exp)
        for (i in 0..2) assertEquals(scores[i] / scores.sum(), actual.last().second[i], 1e-6)
    }

    @Test
    fun `by the rule for streams, unless another one is given`() {
        val live = JSONObject().put("name", "forgetting").put("seconds", 0.008)
        val model = FakeModel(contractJson().put("live", live))
        fun first(vararg rule: DecisionRule): Double {
            val classifier = rule.singleOrNull()?.let { StreamingClassifier(model, it) } ?: StreamingClassifier(model)
            classifier.decide(FloatArray(32))
            return classifier.decide(FloatArray(32)).probabilities[1]
        }

        // The logits of "rain" are 1 and 2, the others 0.
        fun expected(mean: Double) = exp(mean) / (2 + exp(mean))
        val keep = exp(-1.0)
        assertEquals(expected((keep + 2) / (keep + 1)), first(), 1e-12)
        assertEquals(expected(2.0), first(model.contract.decision), 1e-12)
        assertEquals(expected(1.5), first(DecisionRule(RuleName.MEAN)), 1e-12)
    }

    @Test
    fun `the temperature divides the scores, and the logits stay as they are`() {
        for (rule in listOf("last", "mean")) {
            val model = FakeModel(contractJson().put("decision", rule).put("temperature", 4.0))
            lateinit var decision: Decision
            StreamingClassifier(model, model.contract.decision).push(FloatArray(128 * 4), 0, 128 * 4) { decision = it }
            val silence = Math.log(1e-8)
            val scores = doubleArrayOf(silence, if (rule == "last") 4.0 else 2.5, 0.0).map { exp(it / 4) }
            for (i in 0..2) assertEquals(scores[i] / scores.sum(), decision.probabilities[i], 1e-6)
            assertArrayEquals(floatArrayOf(silence.toFloat(), 4f, 0f), decision.logits, 1e-5f)
            assertEquals(1, decision.index)
            assertFalse(decision.unknown)
            assertEquals(1, decision.answer)
        }
    }

    @Test
    fun `a decision is unknown from the threshold on, and its answer is known below it`() {
        // The logits of "park", "rain" and "tram": about −18, the number of steps, and 0.
        fun last(label: String, threshold: Double): Triple<Boolean, Int, Int> {
            lateinit var decision: Decision
            val model = FakeModel(contractJson().put("live", last).put("unknown", unknown(label, threshold)))
            StreamingClassifier(model).push(FloatArray(128), 0, 128) { decision = it }
            return Triple(decision.unknown, decision.answer, decision.index)
        }
        val rain = exp(1.0) / (1 + exp(1.0))
        assertEquals(Triple(true, 1, 1), last("rain", rain - 1e-3))
        assertEquals(Triple(false, 2, 1), last("rain", rain + 1e-3))
        assertEquals(Triple(true, 2, 1), last("tram", 0.2))
        assertEquals(Triple(false, 1, 1), last("tram", 0.3))
    }

    @Test
    fun `any chunking gives the same decisions`() {
        val random = Random(0)
        val samples = FloatArray(128 * 20) { 0.1f * random.nextGaussian().toFloat() }
        val whole = decisions("last", samples, samples.size)
        for (chunk in listOf(1, 63, 64, 129, 1000)) {
            val actual = decisions("last", samples, chunk)
            assertEquals(whole.map { it.first }, actual.map { it.first })
            whole.zip(actual).forEach { (a, b) -> assertArrayEquals(a.second, b.second, 0.0) }
        }
    }

    @Test
    fun `a reset starts a new stream`() {
        val model = FakeModel()
        val classifier = StreamingClassifier(model)
        classifier.push(FloatArray(200), 0, 200) {}
        classifier.reset()
        assertEquals(0, model.steps)
        var time = 0.0
        classifier.push(FloatArray(128), 0, 128) { time = it.time }
        assertEquals(0.008, time, 0.0)
    }

    @Test
    fun `a step allocates nothing`() {
        for (rule in listOf(DecisionRule.DEFAULT_LIVE, DecisionRule(RuleName.MEAN), DecisionRule(RuleName.STICKY, 20.0))) {
            val classifier = StreamingClassifier(FakeModel(), rule)
            val samples = FloatArray(128)
            var count = 0
            val listener: (Decision) -> Unit = { count += 1 }
            assertAllocatesNothing { classifier.push(samples, 0, samples.size, listener) }
            assertEquals(8000, count)
        }
    }

    @Test
    fun `the ring buffer hands samples over in order`() {
        val ring = RingBuffer(1000)
        val random = Random(0)
        val room = Semaphore(1000)
        val writer = thread {
            var next = 0
            while (next < 64 * 1000) {
                val chunk = FloatArray(1 + random.nextInt(90)) { (next + it).toFloat() }
                // Nothing is lost where the writer waits for the reader.
                room.acquire(chunk.size)
                ring.write(chunk, 0, chunk.size)
                next += chunk.size
            }
        }
        val chunk = FloatArray(64)
        for (first in 0 until 64 * 1000 step 64) {
            assertTrue(ring.read(chunk))
            room.release(chunk.size)
            assertArrayEquals(FloatArray(64) { (first + it).toFloat() }, chunk, 0f)
        }
        assertEquals(0L, ring.lost)
        ring.close()
        writer.join()
    }

    @Test
    fun `the ring buffer loses the oldest samples, and counts them`() {
        val ring = RingBuffer(10)
        ring.write(FloatArray(8) { it.toFloat() }, 0, 8)
        ring.write(FloatArray(5) { 100f + it }, 0, 5)
        assertEquals(3L, ring.lost)
        val chunk = FloatArray(10)
        assertTrue(ring.read(chunk))
        assertArrayEquals(floatArrayOf(3f, 4f, 5f, 6f, 7f, 100f, 101f, 102f, 103f, 104f), chunk, 0f)
        ring.write(FloatArray(25) { it.toFloat() }, 0, 25)
        assertEquals(18L, ring.lost)
        assertTrue(ring.read(chunk))
        assertArrayEquals(FloatArray(10) { 15f + it }, chunk, 0f)
        assertEquals(2, ring.gaps)
    }

    @Test
    fun `a cleared ring buffer returns the samples after it`() {
        val ring = RingBuffer(10)
        ring.write(FloatArray(7) { it.toFloat() }, 0, 7)
        ring.clear()
        ring.write(FloatArray(6) { 50f + it }, 0, 6)
        val chunk = FloatArray(6)
        assertTrue(ring.read(chunk))
        assertArrayEquals(FloatArray(6) { 50f + it }, chunk, 0f)
        assertEquals(1, ring.gaps)
        assertEquals(0L, ring.lost)
    }

    @Test
    fun `a closed ring buffer ends the wait of its reader`() {
        val ring = RingBuffer(10)
        var result: Boolean? = null
        val reader = thread { result = ring.read(FloatArray(5)) }
        ring.close()
        reader.join()
        assertFalse(result!!)
    }

    private fun tone(hertz: Double, rate: Int, seconds: Double) =
        FloatArray((rate * seconds).toInt()) { sin(2 * PI * hertz * it / rate).toFloat() }

    private fun resample(input: FloatArray, from: Int, chunk: Int = input.size): FloatArray {
        val resampler = Resampler(from, 16_000)
        val actual = mutableListOf<Float>()
        val output = FloatArray(resampler.maxOutput(chunk))
        for (offset in input.indices step chunk) {
            val count = resampler.push(input, offset, minOf(chunk, input.size - offset), output)
            actual += output.take(count)
        }
        return actual.toFloatArray()
    }

    @Test
    fun `resampling keeps tones where they are`() {
        for (from in listOf(48_000, 44_100, 32_000, 8_000, 22_050)) {
            for (hertz in listOf(100.0, 1000.0, 3300.0)) {
                val actual = resample(tone(hertz, from, 0.3), from)
                val expected = tone(hertz, 16_000, 0.3)
                assertTrue("${actual.size} samples", actual.size in 4500..4800)
                val error = (300 until actual.size - 300).maxOf { abs(actual[it] - expected[it]) }
                assertTrue("$hertz Hz from $from: $error", error < 2e-3)
            }
        }
    }

    @Test
    fun `resampling suppresses aliases`() {
        for (from in listOf(48_000, 44_100)) {
            for (hertz in listOf(9_000.0, 12_000.0, 20_000.0)) {
                val actual = resample(tone(hertz, from, 0.3), from)
                val peak = (300 until actual.size - 300).maxOf { abs(actual[it]) }
                assertTrue("$hertz Hz from $from: $peak", peak < 1e-3)
            }
        }
    }

    @Test
    fun `any chunking is resampled to the same`() {
        for (from in listOf(48_000, 44_100)) {
            val input = tone(440.0, from, 0.2)
            for (chunk in listOf(1, 100, 441, 2205)) {
                assertArrayEquals(resample(input, from), resample(input, from, chunk), 0f)
            }
        }
    }
}
