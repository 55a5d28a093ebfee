package org.edgeasc.core

import java.math.BigDecimal
import java.math.MathContext
import java.util.Locale
import kotlin.math.floor
import kotlin.math.min
import kotlin.math.sqrt
import org.json.JSONObject

/** A distribution of times, as edge-asc's benchmark describes it (`edge_asc_bench.latency`). */
class Latency(nanoseconds: LongArray) {
    private val sorted = DoubleArray(nanoseconds.size) { nanoseconds[it] / 1e6 }.apply { sort() }

    init {
        require(sorted.isNotEmpty()) { "no times" }
    }

    /** ms. */
    val mean = sorted.average()

    /** Standard deviation, ms. */
    val deviation = sqrt(sorted.sumOf { (it - mean) * (it - mean) } / sorted.size)

    /** The time, ms, that [percent] % of all times do not exceed; interpolated. */
    fun percentile(percent: Double): Double {
        val place = percent / 100 * (sorted.size - 1)
        val below = floor(place).toInt()
        val above = min(below + 1, sorted.size - 1)
        return sorted[below] + (place - below) * (sorted[above] - sorted[below])
    }

    /** Reasons not to trust the times; empty if there are none. */
    fun doubts(limits: Limits): List<String> = buildList {
        if (sorted.size < limits.fewest) add("${sorted.size} values are few for percentiles, expected ${limits.fewest}")
        if (deviation > limits.largestSpread * mean) {
            add("the standard deviation is %.0f %% of the mean".format(Locale.ROOT, 100 * deviation / mean))
        }
        val ratio = percentile(99.0) / percentile(50.0)
        if (ratio > 1 + limits.largestOutlier) add("the 99th percentile is %.1f times the median".format(Locale.ROOT, ratio))
    }

    /** The distribution as JSON, ms to five digits. */
    fun toJson(percentiles: List<Int>): JSONObject = JSONObject()
        .put("count", sorted.size)
        .put("p50", short(percentile(50.0)))
        .put("p90", short(percentile(90.0)))
        .put("p99", short(percentile(99.0)))
        .put("maximum", short(sorted.last()))
        .put("minimum", short(sorted.first()))
        .put("mean", short(mean))
        .put("deviation", short(deviation))
        .put(
            "percentiles",
            JSONObject().apply { for (percent in percentiles) put("$percent", short(percentile(percent.toDouble()))) },
        )

    /** Limits beyond which times are not trusted. */
    class Limits(val fewest: Int, val largestSpread: Double, val largestOutlier: Double)
}

/** Rounds a value to five digits. */
fun short(value: Double): Double = BigDecimal(value).round(MathContext(5)).toDouble()
