package org.edgeasc.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class BenchTest {
    private val device = object : Device() {
        override fun conditions(): JSONObject =
            super.conditions().put("throttling", JSONArray(listOf("thermal status severe"))).put("thermal_status", 3)
    }

    private fun plan() = JSONObject()
        .put("kind", "bench")
        .put("schema_version", 2)
        .put("edge_asc", "0")
        .put("reference", "tiny")
        .put("settings", JSONObject("""{"rounds": 5, "duration": 0.0, "warm_up": 2, "lead": 1, "burst": 4, "threads": 1}"""))
        .put(
            "limits",
            JSONObject("""{"fewest": 200, "largest_spread": 0.1, "largest_outlier": 0.5, "largest_slowdown": 0.15}"""),
        )
        .put("percentiles", JSONArray(listOf(0, 50, 100)))
        .put("data", JSONObject())
        .put("clips", JSONArray(listOf(JSONObject().put("audio", "a.pcm").put("logits", "a.logits"))))
        .put(
            "variants",
            JSONArray(listOf(JSONObject().put("name", "tiny"), JSONObject().put("name", "a.onnx").put("file", "a.onnx"))),
        )

    /** Two steps of silence; the reference agrees with the first decision only. */
    private fun files(name: String): ByteArray = when (name) {
        "a.pcm" -> ByteArray(2 * 256)
        else -> ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN).apply {
            asFloatBuffer().put(floatArrayOf(-18f, 1f, 0f, 9f, 2f, 0f))
        }.array()
    }

    @Test
    fun `measures in rounds, and compares with the reference`() {
        val model = FakeModel()
        val reported = mutableListOf<String>()
        val result = Bench(plan(), device, ::files) { model }.run(null, null) { what, _, _ -> reported += what }
        assertEquals(listOf("opening", "latency", "agreement"), reported.distinct())
        val (reference, variant) = result.getJSONArray("variants").objects()
        assertTrue(!reference.has("latency"))
        val agreement = variant.getJSONObject("agreement")
        assertEquals(0.5, agreement.getDouble("share"), 0.0)
        assertEquals(2, agreement.getInt("steps"))
        assertEquals(27.42, agreement.getDouble("max_error"), 0.01)
        val step = variant.getJSONObject("latency").getJSONObject("step")
        assertEquals(20, step.getJSONObject("total").getInt("count"))
        assertEquals(5, step.getJSONArray("rounds_ms").length())
        val doubts = step.getJSONArray("unstable").strings()
        assertTrue("20 values are few for percentiles, expected 200" in doubts)
        assertTrue("the firmware reported: thermal status severe" in doubts)
        assertEquals(3, result.getJSONArray("conditions").getJSONObject(0).getInt("thermal_status"))
        assertTrue(model.closed)
    }

    @Test
    fun `sustains inference for the duration`() {
        val result = Bench(plan(), device, ::files) { FakeModel() }.run(1, 0.05) { _, _, _ -> }
        val step = result.getJSONArray("variants").getJSONObject(1).getJSONObject("latency").getJSONObject("step")
        val sustained = step.getJSONObject("sustained")
        assertEquals(1, step.getJSONArray("rounds_ms").length())
        assertTrue(sustained.getDouble("audio_seconds") > 0)
        assertTrue(sustained.getJSONArray("medians_ms").length() > 0)
    }

    @Test
    fun `refuses an artefact of other labels, and closes it`() {
        val json = contractJson().put("labels", JSONArray(listOf("park", "rain", "tram", "sea")))
        json.getJSONArray("signatures").getJSONObject(0).getJSONArray("outputs").getJSONObject(0)
            .put("shape", JSONArray(listOf(1, 4)))
        val model = FakeModel(json)
        val error = assertThrows(ContractException::class.java) {
            Bench(plan(), device, { if (it == "a.pcm") files(it) else ByteArray(20) }) { model }.run(null, null) { _, _, _ -> }
        }
        assertTrue(error.message, "do not match the reference logits" in error.message!!)
        assertTrue(model.closed)
    }

    @Test
    fun `an artefact that cannot be opened is reported, and the others are measured`() {
        val plan = plan()
        plan.getJSONArray("variants").put(JSONObject().put("name", "b.tflite").put("file", "b.tflite").put("latency", JSONObject()))
        val result = Bench(plan, device, ::files) { file ->
            if (file == "b.tflite") throw ContractException("not in this build") else FakeModel()
        }.run(null, null) { _, _, _ -> }
        assertTrue(!result.getBoolean("complete"))
        assertEquals("b.tflite: not in this build", result.getString("incomplete"))
        val (_, measured, other) = result.getJSONArray("variants").objects()
        assertTrue(measured.getJSONObject("latency").has("step"))
        assertEquals(0, other.getJSONObject("latency").length())
    }

    @Test
    fun `times are summarised as in Python`() {
        val latency = Latency(longArrayOf(5_000_000, 1_000_000, 2_000_000, 4_000_000))
        assertEquals(3.0, latency.percentile(50.0), 1e-12)
        assertEquals(4.97, latency.percentile(99.0), 1e-12)
        assertEquals(1.58114, latency.deviation, 1e-5)
        val json = latency.toJson(listOf(0, 25, 100))
        assertEquals(1.75, json.getJSONObject("percentiles").getDouble("25"), 0.0)
        assertEquals(1.5811, json.getDouble("deviation"), 0.0)
    }
}
