package org.edgeasc.core

import kotlin.math.PI
import kotlin.math.cos
import kotlin.math.exp
import kotlin.math.ln
import kotlin.math.max
import kotlin.math.min

/** Samples that are not audio; the stream is unchanged. */
class AudioException(message: String) : Exception(message)

/** Receives frames; the next frame overwrites the memory of the last. */
fun interface FrameSink {
    fun take(frame: FloatArray)
}

/**
 * Turns samples into normalised log-mel frames, with the parameters of a [FrontEnd].
 *
 * Frame t covers samples [hop·t + hop − window, hop·t + hop); zeros precede the first sample. Any chunking of a
 * signal gives the same frames. Only construction allocates memory. Not safe for use by several threads.
 */
class LogMel(val config: FrontEnd) {
    private val window = config.window
    private val hop = config.hop

    // Two copies of the last samples, so that any window of them is contiguous.
    private val ring = FloatArray(2 * window)
    private var position = 0
    private var pending = 0

    private val hann = FloatArray(window) { (0.5 - 0.5 * cos(2 * PI * it / window)).toFloat() }
    private val fft = RealFft(window)
    private val samples = FloatArray(window)
    private val power = FloatArray(window / 2 + 1)
    private val frame = FloatArray(config.mels)
    private val filters = MelFilters(config)

    /** Starts a new stream. */
    fun reset() {
        ring.fill(0f)
        position = 0
        pending = 0
    }

    /**
     * Takes [count] samples in [−1, 1] from [offset] on, and passes each frame that they complete to [sink].
     *
     * @throws AudioException NaN, infinite or unscaled values; the stream is unchanged.
     */
    fun push(chunk: FloatArray, offset: Int, count: Int, sink: FrameSink) {
        checkSamples(chunk, offset, count)
        var taken = offset
        val end = offset + count
        while (taken < end) {
            val part = min(min(hop - pending, window - position), end - taken)
            chunk.copyInto(ring, position, taken, taken + part)
            chunk.copyInto(ring, position + window, taken, taken + part)
            position = (position + part) % window
            pending += part
            taken += part
            if (pending == hop) {
                pending = 0
                compute()
                sink.take(frame)
            }
        }
    }

    private fun compute() {
        ring.copyInto(samples, 0, position, position + window)
        fft.power(samples, hann, power)
        filters.apply(power, frame)
        val normalised = config.mean.isNotEmpty()
        for (i in frame.indices) {
            var value = ln(frame[i] + config.floor)
            if (normalised) value = max(-config.clip, min(config.clip, (value - config.mean[i]) * config.scale[i]))
            frame[i] = value
        }
    }
}

/** Far above any recording in [−1, 1]; larger samples have another scale. */
private const val LOUDEST = 100f

/**
 * Refuses samples that are not audio.
 *
 * @throws AudioException NaN, infinite or unscaled values.
 */
internal fun checkSamples(chunk: FloatArray, offset: Int, count: Int) {
    for (i in offset until offset + count) {
        val value = chunk[i]
        // Comparisons with NaN are false.
        if (!(value <= LOUDEST && value >= -LOUDEST)) {
            throw AudioException("sample $i is $value; expected about [-1, 1]")
        }
    }
}

/** Triangular filters of unit area on Slaney's mel scale (Auditory Toolbox, 1998), without their zeros. */
private class MelFilters(config: FrontEnd) {
    private val starts = IntArray(config.mels)
    private val weights: Array<FloatArray>

    init {
        val bottom = mel(config.low)
        val top = mel(config.high)
        val edges = DoubleArray(config.mels + 2) { hertz(bottom + (top - bottom) * it / (config.mels + 1)) }
        val bins = config.window / 2 + 1
        weights = Array(config.mels) { i ->
            val row = FloatArray(bins) { bin ->
                val frequency = bin * config.sampleRate / 2.0 / (bins - 1)
                val rising = (frequency - edges[i]) / (edges[i + 1] - edges[i])
                val falling = (edges[i + 2] - frequency) / (edges[i + 2] - edges[i + 1])
                (max(0.0, min(rising, falling)) * 2 / (edges[i + 2] - edges[i])).toFloat()
            }
            val first = row.indexOfFirst { it > 0 }
            starts[i] = max(0, first)
            if (first < 0) FloatArray(0) else row.copyOfRange(first, row.indexOfLast { it > 0 } + 1)
        }
    }

    fun apply(power: FloatArray, mels: FloatArray) {
        for (i in mels.indices) {
            val row = weights[i]
            val start = starts[i]
            var sum = 0f
            for (k in row.indices) sum += row[k] * power[start + k]
            mels[i] = sum
        }
    }

    private fun mel(hertz: Double) =
        if (hertz < 1000) 3 * hertz / 200 else 15 + 27 * ln(hertz / 1000) / ln(6.4)

    private fun hertz(mel: Double) =
        if (mel < 15) 200 * mel / 3 else 1000 * exp(ln(6.4) * (mel - 15) / 27)
}
