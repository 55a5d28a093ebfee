package org.edgeasc.core

import kotlin.math.PI
import kotlin.math.cos
import kotlin.math.sin

/**
 * The power spectrum of [size] real samples, a power of two.
 *
 * Even and odd samples are the real and imaginary parts of half as many complex numbers, whose Fourier transform (Stockham's,
 * radix 4, with one stage of radix 2 where needed) is split at the end. Only construction allocates memory.
 */
class RealFft(private val size: Int) {
    private val half = size / 2
    private var re = FloatArray(half)
    private var im = FloatArray(half)
    private var otherRe = FloatArray(half)
    private var otherIm = FloatArray(half)
    private val stages: List<Stage>
    private val cosines = FloatArray(half / 2 + 1) { cos(2 * PI * it / size).toFloat() }
    private val sines = FloatArray(half / 2 + 1) { sin(2 * PI * it / size).toFloat() }

    init {
        require(size >= 4 && size and (size - 1) == 0) { "size is $size; expected a power of two from 4 on" }
        stages = buildList {
            var length = half
            var stride = 1
            while (length > 1) {
                val radix = if (length % 4 == 0) 4 else 2
                add(Stage(radix, length, stride))
                length /= radix
                stride *= radix
            }
        }
    }

    /** The squared magnitudes of bins 0 to size / 2 of [input] · [window], into [power]. */
    fun power(input: FloatArray, window: FloatArray, power: FloatArray) {
        for (i in 0 until half) {
            re[i] = input[2 * i] * window[2 * i]
            im[i] = input[2 * i + 1] * window[2 * i + 1]
        }
        for (i in stages.indices) {
            stages[i].run(re, im, otherRe, otherIm)
            re = otherRe.also { otherRe = re }
            im = otherIm.also { otherIm = im }
        }
        splitSpectrum(power)
    }

    /** X[k] = E[k] + e^(−2πik/size) · O[k], with the transforms E and O of even and odd samples from Z[k] and Z[half − k]. */
    private fun splitSpectrum(power: FloatArray) {
        val first = re[0] + im[0]
        val last = re[0] - im[0]
        power[0] = first * first
        power[half] = last * last
        for (k in 1..half / 2) {
            val m = half - k
            val evenRe = 0.5f * (re[k] + re[m])
            val evenIm = 0.5f * (im[k] - im[m])
            val oddRe = 0.5f * (im[k] + im[m])
            val oddIm = 0.5f * (re[m] - re[k])
            val turnedRe = cosines[k] * oddRe + sines[k] * oddIm
            val turnedIm = cosines[k] * oddIm - sines[k] * oddRe
            val sumRe = evenRe + turnedRe
            val sumIm = evenIm + turnedIm
            val differenceRe = evenRe - turnedRe
            val differenceIm = evenIm - turnedIm
            power[k] = sumRe * sumRe + sumIm * sumIm
            power[m] = differenceRe * differenceRe + differenceIm * differenceIm
        }
    }

    /** One stage, on subsequences of [length] with a stride of [stride]. */
    private class Stage(private val radix: Int, length: Int, private val stride: Int) {
        private val part = length / radix

        // For each p: e^(−2πi·k·p/length) for k = 1 up to radix − 1, real and imaginary part.
        private val twiddles = FloatArray(part * 2 * (radix - 1)) {
            val p = it / (2 * (radix - 1))
            val k = it % (2 * (radix - 1)) / 2 + 1
            val angle = -2 * PI * k * p / length
            (if (it % 2 == 0) cos(angle) else sin(angle)).toFloat()
        }

        fun run(xr: FloatArray, xi: FloatArray, yr: FloatArray, yi: FloatArray) =
            if (radix == 4) four(xr, xi, yr, yi) else two(xr, xi, yr, yi)

        private fun four(xr: FloatArray, xi: FloatArray, yr: FloatArray, yi: FloatArray) {
            val apart = stride * part
            for (p in 0 until part) {
                val w1r = twiddles[6 * p]
                val w1i = twiddles[6 * p + 1]
                val w2r = twiddles[6 * p + 2]
                val w2i = twiddles[6 * p + 3]
                val w3r = twiddles[6 * p + 4]
                val w3i = twiddles[6 * p + 5]
                val source = stride * p
                val target = 4 * stride * p
                for (q in 0 until stride) {
                    val a = source + q
                    val b = a + apart
                    val c = b + apart
                    val d = c + apart
                    val sumAcR = xr[a] + xr[c]
                    val sumAcI = xi[a] + xi[c]
                    val lessAcR = xr[a] - xr[c]
                    val lessAcI = xi[a] - xi[c]
                    val sumBdR = xr[b] + xr[d]
                    val sumBdI = xi[b] + xi[d]
                    val turnedR = xi[d] - xi[b]
                    val turnedI = xr[b] - xr[d]
                    val t = target + q
                    yr[t] = sumAcR + sumBdR
                    yi[t] = sumAcI + sumBdI
                    val oneR = lessAcR - turnedR
                    val oneI = lessAcI - turnedI
                    yr[t + stride] = oneR * w1r - oneI * w1i
                    yi[t + stride] = oneR * w1i + oneI * w1r
                    val twoR = sumAcR - sumBdR
                    val twoI = sumAcI - sumBdI
                    yr[t + 2 * stride] = twoR * w2r - twoI * w2i
                    yi[t + 2 * stride] = twoR * w2i + twoI * w2r
                    val threeR = lessAcR + turnedR
                    val threeI = lessAcI + turnedI
                    yr[t + 3 * stride] = threeR * w3r - threeI * w3i
                    yi[t + 3 * stride] = threeR * w3i + threeI * w3r
                }
            }
        }

        private fun two(xr: FloatArray, xi: FloatArray, yr: FloatArray, yi: FloatArray) {
            val apart = stride * part
            for (p in 0 until part) {
                val wr = twiddles[2 * p]
                val wi = twiddles[2 * p + 1]
                for (q in 0 until stride) {
                    val a = stride * p + q
                    val t = 2 * stride * p + q
                    val lessR = xr[a] - xr[a + apart]
                    val lessI = xi[a] - xi[a + apart]
                    yr[t] = xr[a] + xr[a + apart]
                    yi[t] = xi[a] + xi[a + apart]
                    yr[t + stride] = lessR * wr - lessI * wi
                    yi[t + stride] = lessR * wi + lessI * wr
                }
            }
        }
    }
}
