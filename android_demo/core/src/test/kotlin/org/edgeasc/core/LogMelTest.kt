package org.edgeasc.core

import java.util.Random
import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.cos
import kotlin.math.max
import kotlin.math.sin
import org.json.JSONArray
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Test

class LogMelTest {
    private fun frames(config: FrontEnd, samples: FloatArray, chunks: List<Int> = listOf(samples.size)): List<FloatArray> {
        val actual = mutableListOf<FloatArray>()
        val logMel = LogMel(config)
        var offset = 0
        for (size in chunks) {
            logMel.push(samples, offset, size) { actual += it.copyOf() }
            offset += size
        }
        return actual
    }

    private fun noise(size: Int, seed: Long = 0): FloatArray {
        val random = Random(seed)
        return FloatArray(size) { 0.1f * random.nextGaussian().toFloat() }
    }

    private val small get() = Contract.parse(contractJson().toString()).frontEnd

    @Test
    fun `the spectrum is that of the definition`() {
        for (size in listOf(4, 8, 16, 32, 64, 512)) {
            val samples = noise(size)
            val window = noise(size, 1)
            val power = FloatArray(size / 2 + 1)
            val fft = RealFft(size)
            // Twice: the second run must not use memory of the first.
            repeat(2) { fft.power(samples, window, power) }
            for (k in power.indices) {
                var re = 0.0
                var im = 0.0
                for (n in 0 until size) {
                    val value = samples[n].toDouble() * window[n]
                    re += value * cos(2 * PI * k * n / size)
                    im -= value * sin(2 * PI * k * n / size)
                }
                assertEquals("bin $k of $size", re * re + im * im, power[k].toDouble(), 1e-6)
            }
        }
    }

    @Test
    fun `log-mel is Python's`() {
        assumeTrue("no golden vectors: see the README", Golden.folder != null)
        val golden = Golden.document()
        val config = FrontEnd.of(golden.getJSONObject("front_end"))
        val actual = frames(config, pcm(Golden.bytes(golden.getString("samples"))))
        val expected = Golden.floats(golden.getString("log_mel"))
        assertEquals(expected.size, actual.size * config.mels)
        val error = actual.flatMap(FloatArray::toList).withIndex().maxOf { (i, value) -> abs(value - expected[i]) }
        println("log-mel: largest difference $error")
        val tolerance = golden.getJSONObject("tolerances").getDouble("log_mel")
        assertTrue("differs by $error", error <= tolerance)
    }

    @Test
    fun `any chunking gives the same frames`() {
        val samples = noise(5000)
        val whole = frames(small, samples)
        val random = Random(1)
        repeat(20) {
            val chunks = mutableListOf<Int>()
            while (chunks.sum() < samples.size) {
                chunks += minOf(random.nextInt(700), samples.size - chunks.sum())
            }
            val actual = frames(small, samples, chunks)
            assertEquals(whole.size, actual.size)
            whole.zip(actual).forEach { (a, b) -> assertArrayEquals(a, b, 0f) }
        }
    }

    @Test
    fun `normalises and clips`() {
        val json = contractJson()
        json.getJSONObject("front_end")
            .put("mean", JSONArray(List(16) { -5.0 }))
            .put("scale", JSONArray(List(16) { 0.5 }))
            .put("clip", 1.0)
        val config = Contract.parse(json.toString()).frontEnd
        val samples = noise(640)
        val raw = frames(config.raw, samples)
        for ((plain, frame) in raw.zip(frames(config, samples))) {
            for (i in plain.indices) {
                assertEquals(max(-1f, minOf(1f, (plain[i] + 5f) * 0.5f)), frame[i], 1e-6f)
            }
        }
    }

    @Test
    fun `refuses samples that are not audio, and continues`() {
        val samples = noise(640)
        val logMel = LogMel(small)
        val actual = mutableListOf<FloatArray>()
        logMel.push(samples, 0, 320) { actual += it.copyOf() }
        for (bad in listOf(Float.NaN, Float.POSITIVE_INFINITY, 32767f)) {
            val chunk = noise(64).also { it[50] = bad }
            assertThrows(AudioException::class.java) { logMel.push(chunk, 0, chunk.size) { actual += it.copyOf() } }
        }
        logMel.push(samples, 320, 320) { actual += it.copyOf() }
        frames(small, samples).zip(actual).forEach { (a, b) -> assertArrayEquals(a, b, 0f) }
        assertEquals(10, actual.size)
    }

    @Test
    fun `allocates nothing per step`() {
        val logMel = LogMel(small)
        val samples = noise(128)
        var frames = 0
        val sink = FrameSink { frames++ }
        assertAllocatesNothing { logMel.push(samples, 0, samples.size, sink) }
        assertEquals(16_000, frames)
    }
}
