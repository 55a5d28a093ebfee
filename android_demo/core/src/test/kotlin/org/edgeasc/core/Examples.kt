package org.edgeasc.core

import com.sun.management.ThreadMXBean
import java.io.File
import java.lang.management.ManagementFactory
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertTrue

/** A small valid contract. */
fun contractJson(): JSONObject {
    fun tensor(name: String, role: String, shape: List<Int>, axes: List<String>, feeds: String? = null) = JSONObject()
        .put("name", name)
        .put("role", role)
        .put("shape", JSONArray(shape))
        .put("axes", JSONArray(axes))
        .put("dtype", "float32")
        .put("quantisation", JSONObject.NULL)
        .put("feeds", feeds ?: JSONObject.NULL)
    val features = tensor("features", "features", listOf(1, 2, 16, 1), listOf("batch", "time", "mel", "channel"))
    val state = tensor("hidden", "state", listOf(1, 3), listOf("batch", "unit"))
    val next = tensor("hidden_next", "state", listOf(1, 3), listOf("batch", "unit"), feeds = "hidden")
    val logits = tensor("logits", "logits", listOf(1, 3), listOf("batch", "unit"))
    val step = JSONObject()
        .put("name", "step")
        .put("frames", 2)
        .put("samples", 128)
        .put("inputs", JSONArray(listOf(features, state)))
        .put("outputs", JSONArray(listOf(logits, next)))
    val frontEnd = JSONObject()
        .put("sample_rate", 16000)
        .put("window", 256)
        .put("hop", 64)
        .put("mels", 16)
        .put("low", 0.0)
        .put("high", 8000.0)
        .put("mel_scale", "slaney")
        .put("mel_norm", "slaney")
        .put("log", "ln")
        .put("floor", 1e-8)
        .put("mean", JSONArray())
        .put("scale", JSONArray())
        .put("clip", 4.0)
    return JSONObject()
        .put("schema_version", 2)
        .put("name", "tiny")
        .put("backbone", "fuse")
        .put("form", "causal")
        .put("scheme", "none")
        .put("labels", JSONArray(listOf("park", "rain", "tram")))
        .put("front_end", frontEnd)
        .put("decision", "last")
        .put("signatures", JSONArray(listOf(step)))
}

/** The same contract for samples: float, or int16. */
fun samplesJson(input: String = "samples"): JSONObject = contractJson().put("schema_version", 3).put("input", input).apply {
    val qparams = JSONObject().put("scale", 1.0 / 32768).put("zero_point", 0)
    getJSONArray("signatures").getJSONObject(0).getJSONArray("inputs").getJSONObject(0)
        .put("name", "samples")
        .put("role", "samples")
        .put("shape", JSONArray(listOf(1, 128)))
        .put("axes", JSONArray(listOf("batch", "time")))
        .put("dtype", if (input == "int16") "int16" else "float32")
        .put("quantisation", if (input == "int16") qparams else JSONObject.NULL)
}

/** A rule for unknown sounds. */
fun unknown(label: String = "rain", threshold: Double = 0.25): JSONObject =
    JSONObject().put("label", label).put("threshold", threshold).put("false_alarm_rate", 0.05).put("measured_on", "clips")

/** Rules of events, with all fields. */
fun eventRules(): JSONObject = JSONObject()
    .put("threshold", 0.4)
    .put("thresholds", JSONObject().put("rain", 0.7))
    .put("release", 0.5)
    .put("minimum", 1)
    .put("maximum", 60.0)
    .put("ignored", JSONArray(listOf("other")))
    .put("decision", JSONObject().put("name", "sticky").put("seconds", 9).put("weight", 0.5))
    .put("other_odds", 3)
    .put("false_alarms_per_day", 2.5)
    .put("measured_on", "a stream")

/** A model whose logits are the mean of its input, and its number of steps. */
class FakeModel(json: JSONObject = contractJson()) : Model {
    override val contract = Contract.parse(json.toString())
    override val engine = "fake 1"
    var steps = 0
    var closed = false

    override fun reset() {
        steps = 0
    }

    override fun step(input: FloatArray, logits: FloatArray) {
        steps++
        logits[0] = input.average().toFloat()
        logits[1] = steps.toFloat()
        logits[2] = 0f
    }

    override fun state(name: String) = FloatArray(3) { steps.toFloat() }

    override fun close() {
        closed = true
    }
}

/** The golden vectors that Python has written. */
object Golden {
    val folder: File? = System.getProperty("org.edgeasc.golden")?.let(::File)?.takeIf { File(it, "golden.json").exists() }

    fun document() = JSONObject(File(folder, "golden.json").readText())

    fun bytes(name: String): ByteArray = File(folder, name).readBytes()

    fun floats(name: String): FloatArray = floats(bytes(name))

    fun doubles(name: String): DoubleArray {
        val values = ByteBuffer.wrap(bytes(name)).order(ByteOrder.LITTLE_ENDIAN).asDoubleBuffer()
        return DoubleArray(values.limit()) { values[it] }
    }
}

/**
 * Fails where a step allocates, once the JVM has compiled it: in each of five rounds. The compiler may allocate in one of them.
 *
 * The step runs 8000 times.
 */
fun assertAllocatesNothing(step: () -> Unit) {
    val bean = ManagementFactory.getThreadMXBean() as ThreadMXBean

    @Suppress("DEPRECATION")
    fun allocated() = bean.getThreadAllocatedBytes(Thread.currentThread().id)
    repeat(3000) { step() }
    val spent = List(5) {
        val before = allocated()
        repeat(1000) { step() }
        allocated() - before
    }
    assertTrue("$spent bytes in rounds of 1000 steps", spent.min() < 1000)
}
