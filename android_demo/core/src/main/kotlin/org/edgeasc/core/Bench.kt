package org.edgeasc.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone
import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min
import org.json.JSONArray
import org.json.JSONObject

/** Receives the progress of a benchmark. */
fun interface BenchProgress {
    fun report(what: String, done: Int, total: Int)
}

/**
 * Measures the artefacts of a plan in interleaved rounds, and returns a result as `edge-asc bench` writes it.
 *
 * `edge-asc android assets` writes plans. A plan names artefacts, clips with PyTorch's logits, and the benchmark settings.
 * Unlike on a computer, all models share one process; each is first opened alone, for its memory and its cold start.
 *
 * @param plan of one model.
 * @param read reads a file of the plan.
 * @param open opens an artefact of the plan.
 */
class Bench(
    private val plan: JSONObject,
    private val device: Device,
    private val read: (String) -> ByteArray,
    private val open: (String) -> Model,
) {
    private val settings = plan.getJSONObject("settings")
    private val limits = plan.getJSONObject("limits")
    private val percentiles = plan.getJSONArray("percentiles").run { List(length(), ::getInt) }
    private val clips = plan.getJSONArray("clips").objects().map { clip ->
        Clip(pcm(read(clip.getString("audio"))), floats(read(clip.getString("logits"))))
    }
    private val conditions = mutableListOf<JSONObject>()
    private val bare = device.resident()
    private val starts = JSONObject()
    private val failures = mutableListOf<String>()
    private val begun = System.nanoTime()

    private class Clip(val samples: FloatArray, val logits: FloatArray)

    /**
     * Runs the benchmark.
     *
     * @param rounds number of rounds; null for the plan's.
     * @param duration seconds of sustained inference per model; null for the plan's.
     * @throws ContractException no artefact can be used; where some can, the result is marked incomplete with the reasons.
     */
    fun run(rounds: Int?, duration: Double?, progress: BenchProgress): JSONObject {
        rounds?.let { settings.put("rounds", it) }
        duration?.let { settings.put("duration", it) }
        val variants = plan.getJSONArray("variants").objects()
        sample("before")
        val entries = mutableListOf<Entry>()
        val opened = mutableListOf<JSONObject>()
        try {
            val artefacts = variants.filter { plan.getString("reference") != it.getString("name") }
            for ((i, variant) in artefacts.withIndex()) {
                progress.report("opening", i, artefacts.size)
                try {
                    Entry(variant).use(Entry::describe)
                } catch (error: Exception) {
                    // Engines throw errors of their own types.
                    failures += "${variant.getString("name")}: ${error.message ?: error.javaClass.simpleName}"
                    continue
                }
                opened += variant
            }
            if (opened.isEmpty()) throw ContractException(failures.joinToString("; "))
            for (variant in opened) entries += Entry(variant)
            entries.forEach { entry -> repeat(settings.getInt("warm_up")) { entry.decide() } }
            for (round in 0 until settings.getInt("rounds")) {
                progress.report("latency", round, settings.getInt("rounds"))
                sample("latency")
                entries.forEach(Entry::runRound)
            }
            sample("after latency")
            for ((i, entry) in entries.withIndex()) {
                if (settings.getDouble("duration") > 0) {
                    progress.report("sustained: ${entry.variant.getString("name")}", i, entries.size)
                    entry.sustain()
                }
            }
            for ((i, entry) in entries.withIndex()) {
                progress.report("agreement", i, entries.size)
                entry.compare()
            }
            sample("after")
            entries.forEach(Entry::finish)
        } finally {
            entries.forEach(Entry::close)
        }
        return result(variants)
    }

    private fun result(variants: List<JSONObject>): JSONObject {
        val machine = device.machine()
        val missing = machine.keys().asSequence().map { "$it" }.filter { machine.isNull(it) && it != "emulated" }.sorted()
        val format = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'+00:00'", Locale.ROOT).apply { timeZone = TimeZone.getTimeZone("UTC") }
        return JSONObject()
            .put("kind", plan.getString("kind"))
            .put("schema_version", plan.getInt("schema_version"))
            .put("complete", failures.isEmpty())
            .put("incomplete", if (failures.isEmpty()) JSONObject.NULL else failures.joinToString("; "))
            .put(
                "made",
                JSONObject()
                    .put("edge_asc", plan.getString("edge_asc"))
                    .put("at", format.format(Date()))
                    .put("seconds", short(elapsed()))
                    .put("target", "app")
                    .put("command", ""),
            )
            .put("machine", machine.put("missing", JSONArray(missing.toList())))
            .put("conditions", JSONArray(conditions))
            .put("settings", settings)
            .put("data", plan.getJSONObject("data"))
            .put("reference", plan.getString("reference"))
            .put("whole_clip", JSONObject.NULL)
            .put("variants", JSONArray(variants))
    }

    private fun elapsed() = (System.nanoTime() - begun) / 1e9

    private fun sample(phase: String) {
        conditions += device.conditions().put("at", short(elapsed())).put("phase", phase)
    }

    private inner class Entry(val variant: JSONObject) : AutoCloseable {
        private val imported = device.resident()
        private val peakReset = device.resetPeak()
        private val opening = System.nanoTime()
        private val model = open(variant.getString("file"))
        private val loaded = System.nanoTime()
        private val classifier = model.orClose { StreamingClassifier(it) }
        private val step = classifier.contract.step
        private val logMel = if (classifier.contract.input == InputKind.FEATURES) LogMel(classifier.contract.frontEnd) else null
        private val input = FloatArray(classifier.contract.step.source.size)
        private val frontEnd = LongList()
        private val times = LongList()
        private val rounds = mutableListOf<Double>()
        private var frames = 0
        private var decisions = 0
        private var spentFrontEnd = 0L
        private var spentModel = 0L
        private var sustained: JSONObject? = null
        private val sink = FrameSink { frame -> frame.copyInto(input, frame.size * frames++) }

        init {
            if (clips.any { it.logits.size % classifier.contract.labels.size != 0 }) {
                close()
                throw ContractException(
                    "${variant.getString("file")}: has ${classifier.contract.labels.size} labels, which do not match the " +
                        "reference logits; write the assets again",
                )
            }
        }

        /** Records memory and times of opening the artefact and of one decision, with no other artefact open. */
        fun describe() {
            val before = System.nanoTime()
            decide()
            val first = System.nanoTime() - before
            variant.put("engine", model.engine)
            if (bare != null && imported != null) {
                // The app holds its front end from the start. Memory left by an engine that ran before counts as the runtime's.
                val base = min(bare, imported)
                val memory = JSONObject().put("bare", base).put("front_end", base).put("imported", imported)
                    .put("now", device.resident())
                    .put("peak", (if (peakReset) device.peak() else null) ?: JSONObject.NULL)
                variant.put("memory", memory)
            }
            starts.put(
                variant.getString("name"),
                JSONObject()
                    .put("load_ms", (loaded - opening) / 1e6)
                    .put("cold_start_ms", (loaded - opening + first) / 1e6),
            )
        }

        /** Decides on the next step of the first clip. */
        fun decide() {
            val samples = clips[0].samples
            val chunks = samples.size / step.samples
            frames = 0
            val before = System.nanoTime()
            val begin = decisions++ % chunks * step.samples
            if (logMel == null) {
                samples.copyInto(input, 0, begin, begin + step.samples)
            } else {
                logMel.push(samples, begin, step.samples, sink)
            }
            val between = System.nanoTime()
            classifier.decide(input)
            spentModel = System.nanoTime() - between
            spentFrontEnd = between - before
        }

        fun runRound() {
            repeat(settings.getInt("lead")) { decide() }
            rounds += burst(settings.getInt("burst"), keep = true)
        }

        /** Returns the median time of [count] decisions, ms. */
        private fun burst(count: Int, keep: Boolean): Double {
            val totals = LongArray(count) {
                decide()
                if (keep) {
                    frontEnd.add(spentFrontEnd)
                    times.add(spentModel)
                }
                spentFrontEnd + spentModel
            }
            return Latency(totals).percentile(50.0)
        }

        fun sustain() {
            val seconds = settings.getDouble("duration")
            val count = settings.getInt("burst")
            val before = device.resident()
            val end = System.nanoTime() + (seconds * 1e9).toLong()
            val medians = mutableListOf<Double>()
            var sampled = 0L
            while (System.nanoTime() < end || medians.size < 10) {
                medians += burst(count, keep = false)
                if (System.nanoTime() - sampled > 1_000_000_000) {
                    sample("sustained")
                    sampled = System.nanoTime()
                }
            }
            val tenth = max(1, medians.size / 10)
            val (start, last) = median(medians.take(tenth)) to median(medians.takeLast(tenth))
            val parts = medians.chunked((medians.size + PARTS - 1) / PARTS)
            sustained = JSONObject()
                .put("seconds", seconds)
                .put("audio_seconds", medians.size * count * period())
                .put("resident", JSONArray(listOf(before ?: JSONObject.NULL, device.resident() ?: JSONObject.NULL)))
                .put("first_ms", short(start))
                .put("last_ms", short(last))
                .put("ratio", last / start)
                .put("medians_ms", JSONArray(parts.map { short(median(it)) }))
        }

        private fun period() = step.samples.toDouble() / classifier.contract.frontEnd.sampleRate

        /** Compares the logits with PyTorch's, on all clips. */
        fun compare() {
            val labels = classifier.contract.labels.size
            var steps = 0
            var equal = 0
            var sum = 0.0
            var largest = 0.0
            for (clip in clips) {
                classifier.reset()
                var row = 0
                classifier.push(clip.samples, 0, clip.samples.size) { decision ->
                    val expected = clip.logits.copyOfRange(row * labels, (row + 1) * labels)
                    row++
                    steps++
                    if (best(expected) == best(decision.logits)) equal++
                    for (i in 0 until labels) {
                        val error = abs(expected[i] - decision.logits[i]).toDouble()
                        sum += error
                        largest = max(largest, error)
                    }
                }
                check(row * labels == clip.logits.size) { "$row decisions, but ${clip.logits.size} reference logits" }
            }
            variant.put(
                "agreement",
                JSONObject()
                    .put("steps", steps)
                    .put("share", equal.toDouble() / steps)
                    .put("mean_error", sum / (steps * labels))
                    .put("max_error", largest),
            )
        }

        fun finish() {
            val start = starts.getJSONObject(variant.getString("name"))
            val total = Latency(LongArray(times.size) { times[it] + frontEnd[it] })
            val doubts = total.doubts(
                Latency.Limits(
                    limits.getInt("fewest"),
                    limits.getDouble("largest_spread"),
                    limits.getDouble("largest_outlier"),
                ),
            )
            variant.put(
                "latency",
                JSONObject().put(
                    "step",
                    JSONObject()
                        .put("front_end", Latency(frontEnd.toArray()).toJson(percentiles))
                        .put("model", Latency(times.toArray()).toJson(percentiles))
                        .put("total", total.toJson(percentiles))
                        .put("rounds_ms", JSONArray(rounds.map(::short)))
                        .put("period_s", period())
                        .put("real_time_factor", total.mean / 1000 / period())
                        .put("load_ms", start.getDouble("load_ms"))
                        .put("cold_start_ms", start.getDouble("cold_start_ms"))
                        .put("sustained", sustained ?: JSONObject.NULL)
                        .put("unstable", JSONArray(doubts + disturbances())),
                ),
            )
        }

        override fun close() = model.close()
    }

    /** Conditions that disturbed the times. */
    private fun disturbances(): List<String> {
        val timed = conditions.filter { it.getString("phase") in setOf("latency", "after latency") }
        val flags = timed.flatMap { it.optJSONArray("throttling")?.strings().orEmpty() }.toSortedSet()
        val fastest = timed.mapNotNull { it.optJSONArray("frequency_mhz")?.floats()?.maxOrNull() }
        return buildList {
            if (flags.isNotEmpty()) add("the firmware reported: ${flags.joinToString()}")
            if (fastest.isNotEmpty() && fastest.min() < (1 - limits.getDouble("largest_slowdown")) * fastest.max()) {
                add("the processor ran at %.0f to %.0f MHz".format(Locale.ROOT, fastest.min(), fastest.max()))
            }
        }
    }
}

/** A growing list of unboxed numbers. */
private class LongList {
    private var memory = LongArray(1024)

    var size = 0
        private set

    fun add(value: Long) {
        if (size == memory.size) memory = memory.copyOf(2 * size)
        memory[size++] = value
    }

    operator fun get(index: Int) = memory[index]

    fun toArray(): LongArray = memory.copyOf(size)
}

/** Returns the result of [make], or closes the model where [make] fails. */
private fun <T> Model.orClose(make: (Model) -> T): T = try {
    make(this)
} catch (error: Throwable) {
    close()
    throw error
}

// Largest number of medians of sustained inference in a result.
private const val PARTS = 60

private fun median(values: List<Double>): Double {
    val sorted = values.sorted()
    return (sorted[(sorted.size - 1) / 2] + sorted[sorted.size / 2]) / 2
}

private fun best(values: FloatArray): Int = values.indices.maxBy { values[it] }

/** 16-bit samples as floats in [−1, 1). */
fun pcm(bytes: ByteArray): FloatArray {
    val values = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asShortBuffer()
    return FloatArray(values.limit()) { values[it] / 32768f }
}

/** Single-precision values, little-endian. */
fun floats(bytes: ByteArray): FloatArray {
    val values = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
    return FloatArray(values.limit()) { values[it] }
}
