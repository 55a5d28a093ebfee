package org.edgeasc.core

import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.cos
import kotlin.math.min
import kotlin.math.sin

/**
 * Resamples a stream from [from] Hz to [to] Hz, with a windowed sinc whose passband ends below the lower Nyquist frequency.
 *
 * Any chunking of a signal gives the same samples. After construction, only a chunk longer than all chunks before allocates
 * memory.
 */
class Resampler(from: Int, to: Int) {
    private val up = to / gcd(from, to)
    private val down = from / gcd(from, to)

    // Below the Nyquist frequency by the width of the transition band.
    private val cutoff = PASSBAND * min(1.0, up.toDouble() / down)
    private val reach = ceil(ZEROS / cutoff).toInt()
    private val taps = 2 * reach

    // One filter for each of `up` positions between two input samples.
    private val filters = Array(up) { phase -> filter(phase.toDouble() / up) }
    private var memory = FloatArray(taps)
    // The filter is centred on the first sample.
    private var size = reach - 1
    private var phase = 0

    /** Starts a new stream. */
    fun reset() {
        memory.fill(0f)
        size = reach - 1
        phase = 0
    }

    /** The largest number of output samples that [count] more input samples complete. */
    fun maxOutput(count: Int): Int = ((count + 1L) * up / down + 1).toInt()

    /** Takes [count] samples, writes the output samples that they complete to [output], and returns their number. */
    fun push(input: FloatArray, offset: Int, count: Int, output: FloatArray): Int {
        if (size + count > memory.size) memory = memory.copyOf(size + count)
        input.copyInto(memory, size, offset, offset + count)
        size += count
        var begin = 0
        var written = 0
        while (begin + taps <= size) {
            val filter = filters[phase]
            var sum = 0f
            for (i in filter.indices) sum += filter[i] * memory[begin + i]
            output[written++] = sum
            phase += down
            begin += phase / up
            phase %= up
        }
        memory.copyInto(memory, 0, begin, size)
        size -= begin
        return written
    }

    private fun filter(place: Double): FloatArray {
        val weights = DoubleArray(taps) { tap ->
            val distance = tap - (reach - 1) - place
            val x = PI * distance * cutoff
            val sinc = if (abs(x) < 1e-9) 1.0 else sin(x) / x
            val edge = distance / reach
            // Blackman's window.
            if (abs(edge) >= 1) 0.0 else sinc * (0.42 + 0.5 * cos(PI * edge) + 0.08 * cos(2 * PI * edge))
        }
        val sum = weights.sum()
        return FloatArray(taps) { (weights[it] / sum).toFloat() }
    }

    private companion object {
        const val PASSBAND = 0.93
        const val ZEROS = 24

        tailrec fun gcd(a: Int, b: Int): Int = if (b == 0) a else gcd(b, a % b)
    }
}
