package org.edgeasc.core

import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Test

class ContractTest {
    private fun assertRefused(expected: String, change: JSONObject.() -> Unit) {
        val json = contractJson().apply(change)
        val error = assertThrows(ContractException::class.java) { Contract.parse(json.toString()) }
        assertTrue(error.message, expected in error.message!!)
    }

    private fun JSONObject.step() = getJSONArray("signatures").getJSONObject(0)

    private fun JSONObject.output(index: Int) = step().getJSONArray("outputs").getJSONObject(index)

    @Test
    fun `reads the fields of a step`() {
        val contract = Contract.parse(contractJson().toString())
        assertEquals(listOf("park", "rain", "tram"), contract.labels)
        assertEquals(64, contract.frontEnd.hop)
        assertEquals("hidden_next", contract.step.feeders.getValue("hidden").name)
        assertEquals(DecisionRule(RuleName.LAST), contract.decision)
        assertEquals(0.008, contract.stepSeconds, 0.0)
    }

    @Test
    fun `refuses a newer schema`() = assertRefused("reads 1 to 3: update this app") { put("schema_version", 4) }

    @Test
    fun `refuses an unknown schema`() {
        assertRefused("export the artefact again") { put("schema_version", "one") }
        assertRefused("schema version 0; this app reads 1 to 3: export the artefact again") { put("schema_version", 0) }
    }

    @Test
    fun `a contract of version 1 has the default rule for streams, and no rules of events`() {
        val contract = Contract.parse(contractJson().put("schema_version", 1).toString())
        assertEquals(DecisionRule.DEFAULT_LIVE, contract.live)
        assertEquals(null, contract.events)
        val empty = contractJson().put("live", JSONObject.NULL).put("events", JSONObject.NULL)
        assertEquals(DecisionRule.DEFAULT_LIVE, Contract.parse(empty.toString()).live)
        assertEquals(null, Contract.parse(empty.toString()).events)
    }

    @Test
    fun `reads the rule for streams, and the rules of events`() {
        val live = JSONObject().put("name", "sticky").put("seconds", 20).put("weight", 0.25)
        val events = eventRules().put("ignored", JSONArray(listOf("tram")))
        val contract = Contract.parse(contractJson().put("live", live).put("events", events).toString())
        assertEquals(DecisionRule(RuleName.STICKY, 20.0, 0.25), contract.live)
        val rules = contract.events!!
        assertEquals(listOf("tram"), rules.ignored)
        assertEquals(listOf(0.7, 0.4), listOf("rain", "park").map(rules::of))
    }

    @Test
    fun `refuses rules for streams that cannot hold`() {
        assertRefused("live.name is vote; expected last, mean, forgetting, sticky") { put("live", JSONObject().put("name", "vote")) }
        assertRefused("decision rule sticky: seconds is 0.0") { put("live", JSONObject().put("name", "sticky")) }
        assertRefused("malformed (live.name: got nothing, expected a string)") { put("live", JSONObject()) }
        assertRefused("malformed") { put("live", "mean") }
    }

    @Test
    fun `refuses rules of events that cannot hold`() {
        assertRefused("events have rules for other; expected some of park, rain, tram") { put("events", eventRules()) }
        assertRefused("events: minimum is -1.0 s") { put("events", eventRules().put("minimum", -1)) }
        assertRefused("malformed (events: got unknown fields colour)") { put("events", eventRules().put("colour", 1)) }
        assertRefused("malformed (events.release: got nothing, expected a number)") {
            put("events", eventRules().apply { remove("release") })
        }
    }

    @Test
    fun `refuses text that is not a contract`() {
        assertRefused("no schema_version") { remove("schema_version") }
        assertThrows(ContractException::class.java) { Contract.parse("{") }
    }

    @Test
    fun `refuses labels that do not match the logits`() =
        assertRefused("3 logits for 4 labels") { getJSONArray("labels").put("sea") }

    @Test
    fun `refuses labels that are not distinct`() =
        assertRefused("expected 2 or more distinct names") { put("labels", JSONArray(listOf("park", "park", "tram"))) }

    @Test
    fun `refuses a hop that the steps do not have`() =
        assertRefused("2 frames stand for 128 samples; expected 64") { getJSONObject("front_end").put("hop", 32) }

    @Test
    fun `refuses a hop beyond the window`() =
        assertRefused("hop is 512; expected 1 to the window, 256") { getJSONObject("front_end").put("hop", 512) }

    @Test
    fun `refuses a window that is not a power of two`() =
        assertRefused("window is 200") { getJSONObject("front_end").put("window", 200) }

    @Test
    fun `refuses another mel scale`() =
        assertRefused("mel_scale is htk") { getJSONObject("front_end").put("mel_scale", "htk") }

    @Test
    fun `refuses a windowed model`() = assertRefused("has no steps") { put("form", "windowed") }

    @Test
    fun `refuses another decision, and a rule that is not one for clips`() {
        assertRefused("decision is vote; expected last, mean; export") { put("decision", "vote") }
        assertRefused("decision is forgetting; expected last, mean; export") { put("decision", "forgetting") }
    }

    @Test
    fun `an older contract has the temperature 1 and no rule for unknown sounds`() {
        val contract = Contract.parse(contractJson().toString())
        assertEquals(1.0, contract.temperature, 0.0)
        assertEquals(null, contract.unknown)
        val empty = Contract.parse(contractJson().put("unknown", JSONObject.NULL).put("temperature", 2.5).toString())
        assertEquals(2.5, empty.temperature, 0.0)
        assertEquals(null, empty.unknown)
    }

    @Test
    fun `reads the rule for unknown sounds`() =
        assertEquals(UnknownRule("rain", 0.25, 0.05), Contract.parse(contractJson().put("unknown", unknown()).toString()).unknown)

    @Test
    fun `refuses a temperature that is not above 0`() {
        assertRefused("temperature is 0.0; expected a finite number above 0") { put("temperature", 0) }
        assertRefused("temperature is -1.0") { put("temperature", -1) }
    }

    @Test
    fun `refuses a rule for unknown sounds that cannot hold`() {
        assertRefused("the label sea; expected one of") { put("unknown", unknown(label = "sea")) }
        assertRefused("threshold of unknown is 1.5") { put("unknown", unknown(threshold = 1.5)) }
        assertRefused("malformed") { put("unknown", JSONObject().put("label", "rain")) }
    }

    @Test
    fun `refuses an unknown type`() = assertRefused("dtype is float16") { output(0).put("dtype", "float16") }

    @Test
    fun `refuses a state that nothing feeds`() = assertRefused("are fed by outputs for") { output(1).put("feeds", JSONObject.NULL) }

    @Test
    fun `refuses a state that is fed by another shape`() =
        assertRefused("state hidden differs from the output that feeds it") { output(1).put("shape", JSONArray(listOf(1, 4))) }

    @Test
    fun `refuses features of another order`() = assertRefused("expected float32 of 2 frames of 16 mel bins") {
        step().getJSONArray("inputs").getJSONObject(0)
            .put("axes", JSONArray(listOf("batch", "mel", "time", "channel")))
            .put("shape", JSONArray(listOf(1, 16, 2, 1)))
    }

    @Test
    fun `reads what a step takes`() {
        assertEquals(InputKind.FEATURES, Contract.parse(contractJson().toString()).input)
        for ((text, kind) in listOf("samples" to InputKind.SAMPLES, "int16" to InputKind.INT16)) {
            val contract = Contract.parse(samplesJson(text).toString())
            assertEquals(kind, contract.input)
            assertEquals("samples", contract.step.source.name)
        }
    }

    @Test
    fun `refuses an input that is not what the contract says`() {
        assertRefused("input is video; expected features, samples, int16") { put("input", "video") }
        assertRefused("expected 128 samples, FLOAT32") { put("input", "samples") }
        for ((change, message) in listOf(
            samplesJson().put("input", "int16") to "expected 128 samples, INT16",
            samplesJson("int16").put("input", "samples") to "expected 128 samples, FLOAT32",
            samplesJson().put("input", "features") to "expected float32 of 2 frames of 16 mel bins",
            samplesJson().apply {
                step().getJSONArray("inputs").getJSONObject(0).put("shape", JSONArray(listOf(1, 127)))
            } to "expected 128 samples, FLOAT32",
        )) {
            val error = assertThrows(ContractException::class.java) { Contract.parse(change.toString()) }
            assertTrue(error.message, message in error.message!!)
        }
    }

    @Test
    fun `refuses a missing field`() = assertRefused("malformed") { remove("labels") }

    @Test
    fun `finds the contract of a TFLite file, and refuses damaged ones`() {
        assumeTrue("no golden vectors: see the README", Golden.folder != null)
        val files = Golden.folder!!.listFiles { file -> file.extension == "tflite" }!!
        assertTrue(files.isNotEmpty())
        for (file in files) {
            val bytes = file.readBytes()
            assertTrue(TfliteMetadata.contract(bytes).labels.isNotEmpty())
            for (size in listOf(0, 7, 8, 100, bytes.size / 2)) {
                assertThrows(ContractException::class.java) { TfliteMetadata.contract(bytes.copyOf(size)) }
            }
        }
    }

    @Test
    fun `refuses bytes that are not a TFLite file`() {
        val random = java.util.Random(0)
        repeat(200) {
            val bytes = ByteArray(200).also(random::nextBytes)
            "TFL3".toByteArray().copyInto(bytes, 4)
            // Offsets near the start, so that some are inside the file.
            bytes[1] = 0
            bytes[2] = 0
            bytes[3] = 0
            assertThrows(ContractException::class.java) { TfliteMetadata.contract(bytes) }
        }
    }
}
