package org.edgeasc.core

import java.util.Random
import kotlin.concurrent.thread
import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.exp
import kotlin.math.sin
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test

class StreamingTest {
    private fun decisions(rule: String, samples: FloatArray, chunk: Int): List<Pair<Double, FloatArray>> {
        val classifier = StreamingClassifier(FakeModel(contractJson().put("decision", rule)))
        val found = mutableListOf<Pair<Double, FloatArray>>()
        for (offset in samples.indices step chunk) {
            classifier.push(samples, offset, minOf(chunk, samples.size - offset)) {
                found += it.time to it.probabilities.copyOf()
            }
        }
        return found
    }

    @Test
    fun `a decision for each step, by the last logits`() {
        val found = decisions("last", FloatArray(128 * 4), 100)
        assertEquals(listOf(0.008, 0.016, 0.024, 0.032), found.map { it.first })
        // The logits of silence are ln(floor) throughout, the number of steps, and 0.
        val scores = doubleArrayOf(Math.log(1e-8), 4.0, 0.0).map(::exp)
        for (i in 0..2) assertEquals(scores[i] / scores.sum(), found.last().second[i].toDouble(), 1e-6)
    }

    @Test
    fun `by the mean of all logits`() {
        val found = decisions("mean", FloatArray(128 * 4), 100)
        val scores = doubleArrayOf(Math.log(1e-8), 2.5, 0.0).map(::exp)
        for (i in 0..2) assertEquals(scores[i] / scores.sum(), found.last().second[i].toDouble(), 1e-6)
    }

    @Test
    fun `any chunking gives the same decisions`() {
        val random = Random(0)
        val samples = FloatArray(128 * 20) { 0.1f * random.nextGaussian().toFloat() }
        val whole = decisions("last", samples, samples.size)
        for (chunk in listOf(1, 63, 64, 129, 1000)) {
            val found = decisions("last", samples, chunk)
            assertEquals(whole.map { it.first }, found.map { it.first })
            whole.zip(found).forEach { (a, b) -> assertArrayEquals(a.second, b.second, 0f) }
        }
    }

    @Test
    fun `a reset forgets`() {
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
        val classifier = StreamingClassifier(FakeModel())
        val samples = FloatArray(128)
        var count = 0
        val listener: (Decision) -> Unit = { count += 1 }
        assertAllocatesNothing { classifier.push(samples, 0, samples.size, listener) }
        assertEquals(4000, count)
    }

    @Test
    fun `the ring buffer hands samples over in order`() {
        val ring = RingBuffer(1000)
        val random = Random(0)
        val writer = thread {
            var next = 0
            while (next < 100_000) {
                val chunk = FloatArray(1 + random.nextInt(90)) { (next + it).toFloat() }
                // Never more than what is read in the meantime, at this pace.
                ring.write(chunk, 0, chunk.size)
                next += chunk.size
                Thread.sleep(0, 200_000)
            }
        }
        val chunk = FloatArray(64)
        for (first in 0 until 64 * 1000 step 64) {
            assertTrue(ring.read(chunk))
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
    fun `a cleared ring buffer gives what comes after`() {
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
    fun `a closed ring buffer lets its reader go`() {
        val ring = RingBuffer(10)
        var result: Boolean? = null
        val reader = thread { result = ring.read(FloatArray(5)) }
        ring.close()
        reader.join()
        assertFalse(result!!)
    }

    private fun tone(hertz: Double, rate: Int, seconds: Double) =
        FloatArray((rate * seconds).toInt()) { sin(2 * PI * hertz * it / rate).toFloat() }

    private fun resampled(input: FloatArray, from: Int, chunk: Int = input.size): FloatArray {
        val resampler = Resampler(from, 16_000)
        val found = mutableListOf<Float>()
        val output = FloatArray(resampler.most(chunk))
        for (offset in input.indices step chunk) {
            val count = resampler.push(input, offset, minOf(chunk, input.size - offset), output)
            found += output.take(count)
        }
        return found.toFloatArray()
    }

    @Test
    fun `resampling keeps tones where they are`() {
        for (from in listOf(48_000, 44_100, 32_000, 8_000, 22_050)) {
            for (hertz in listOf(100.0, 1000.0, 3300.0)) {
                val found = resampled(tone(hertz, from, 0.3), from)
                val expected = tone(hertz, 16_000, 0.3)
                assertTrue("${found.size} samples", found.size in 4500..4800)
                val error = (300 until found.size - 300).maxOf { abs(found[it] - expected[it]) }
                assertTrue("$hertz Hz from $from: $error", error < 2e-3)
            }
        }
    }

    @Test
    fun `resampling lets nothing fold back`() {
        for (from in listOf(48_000, 44_100)) {
            for (hertz in listOf(9_000.0, 12_000.0, 20_000.0)) {
                val found = resampled(tone(hertz, from, 0.3), from)
                val peak = (300 until found.size - 300).maxOf { abs(found[it]) }
                assertTrue("$hertz Hz from $from: $peak", peak < 1e-3)
            }
        }
    }

    @Test
    fun `any chunking is resampled to the same`() {
        for (from in listOf(48_000, 44_100)) {
            val input = tone(440.0, from, 0.2)
            for (chunk in listOf(1, 100, 441, 2205)) {
                assertArrayEquals(resampled(input, from), resampled(input, from, chunk), 0f)
            }
        }
    }
}
