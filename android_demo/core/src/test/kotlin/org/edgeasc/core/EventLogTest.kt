package org.edgeasc.core

import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Test

class EventLogTest {
    // Steps of 8 ms; the model is sure of "rain" or of "park", as its features say.
    private val rules = JSONObject("""{"threshold": 0.9, "release": 0.9, "minimum": 0.008, "decision": {"name": "last"}}""")
    private val model = FakeModel(contractJson().put("live", JSONObject("""{"name": "last"}""")).put("events", rules))
    private val classifier = StreamingClassifier(model)
    private val log = EventLog(model.contract, seconds = 10.0, capacity = 3)
    private val noise = FloatArray(128) { if (it % 2 == 0) 0.1f else -0.1f }
    private var now = 1_000_000L

    private fun step(feature: Float, samples: FloatArray = noise) {
        log.push(samples, 0, samples.size)
        log.update(classifier.decide(FloatArray(32) { feature }), now)
        now += 8
    }

    private fun rows() = log.events().map { it.label to it.duration }

    @Test
    fun `events that last come first, then those that have ended`() {
        repeat(9) { step(0f) }
        repeat(2) { step(50f) }
        repeat(3) { step(0f) }
        val (rain, park, before) = log.events()
        assertEquals(listOf("rain", "park", "rain"), listOf(rain, park, before).map { it.label })
        assertEquals(null, rain.duration)
        assertEquals(0.016, park.duration!!, 1e-9)
        // The first step ended at 1,000,000 ms; "park" began with the tenth.
        assertEquals(1_000_064L, park.began)
    }

    @Test
    fun `old events are dropped, and more than the capacity`() {
        repeat(9) { step(0f) }
        repeat(10) {
            step(50f)
            step(0f)
        }
        assertEquals(1 + 3, log.events().size)
        now += 10_100
        step(0f)
        assertEquals(1, log.events().size)
    }

    @Test
    fun `a gap ends all events, and the clock goes on with the next stream`() {
        repeat(9) { step(0f) }
        log.restart()
        classifier.reset()
        assertEquals(1, rows().size)
        assertEquals("rain", log.events()[0].label)
        assertEquals(true, log.events()[0].end != null)
        now = 2_000_000L
        step(50f)
        assertEquals(listOf("park" to 1_999_992L), log.events().filter { it.end == null }.map { it.label to it.began })
    }

    @Test
    fun `digital silence is no event`() {
        repeat(9) { step(50f, FloatArray(128)) }
        assertEquals(emptyList<SoundEvent>(), log.events())
        step(50f)
        assertEquals(1, log.events().size)
        step(50f, FloatArray(128))
        assertEquals(listOf(true), log.events().map { it.end != null })
    }

    @Test
    fun `without rules, a model's label for unknown sounds is ignored`() {
        val json = contractJson().put("unknown", unknown("park", 0.5)).put("live", JSONObject("""{"name": "last"}"""))
        val uncalibrated = FakeModel(json)
        val log = EventLog(uncalibrated.contract, 10.0)
        val classifier = StreamingClassifier(uncalibrated)
        log.push(noise, 0, noise.size)
        repeat(99) { log.update(classifier.decide(FloatArray(32) { 200f }), now) }
        assertEquals(emptyList<SoundEvent>(), log.events())
        repeat(99) { log.update(classifier.decide(FloatArray(32) { -200f }), now) }
        assertEquals(listOf("rain"), log.events().map { it.label })
    }
}
