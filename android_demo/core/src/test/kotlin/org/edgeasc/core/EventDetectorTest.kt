package org.edgeasc.core

import kotlin.math.ln
import org.json.JSONException
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Test

class EventDetectorTest {
    private val labels = listOf("rain", "bells", "other")

    private fun follow(rules: EventRules, rows: List<DoubleArray>, level: Double = 0.0): List<SoundEvent> {
        val detector = EventDetector(labels, rules, STEP)
        return rows.flatMapIndexed { i, row -> detector.update((i + 1) * STEP, row, level) } + detector.finish()
    }

    private fun rain(vararg probabilities: Double) = probabilities.map { doubleArrayOf(it, 0.0, 0.0) }

    private fun unknown(vectors: JSONObject) = vectors.getJSONObject("unknown").let {
        UnknownRule(it.getString("label"), it.getDouble("threshold"), it.getDouble("false_alarm_rate"))
    }

    private fun ended(changes: List<SoundEvent>) = changes.filter { it.end != null }.map { Triple(it.label, it.start, it.end) }

    @Test
    fun `finds the events of Python`() {
        assumeTrue("no golden vectors: see the README", Golden.folder != null)
        val document = Golden.document()
        val vectors = document.getJSONObject("decisions")
        val tolerance = document.getJSONObject("tolerances").getDouble("decisions")
        val names = vectors.getJSONArray("labels").strings()
        val step = vectors.getDouble("step")
        val logits = Golden.floats(vectors.getString("logits")).toList().chunked(names.size).map { it.toFloatArray() }
        val levels = Golden.doubles(vectors.getString("levels"))
        val unknown = unknown(vectors)
        var count = 0
        for (detected in vectors.getJSONArray("events").objects()) {
            val rules = EventRules.of(detected.getJSONObject("rules"))
            val logOdds = DoubleArray(names.size) { if (names[it] == unknown.label) ln(rules.otherOdds) else 0.0 }
            val belief = Belief(rules.decision, names.size, step, vectors.getDouble("temperature"), logOdds)
            val detector = EventDetector(names, rules, step)
            val actual = logits.flatMapIndexed { i, row ->
                detector.update((i + 1) * step, belief.update(row), levels[i])
            } + detector.finish()
            val expected = detected.getJSONArray("changes").objects()
            count += expected.size
            assertEquals("$rules", expected.size, actual.size)
            for ((one, other) in expected.zip(actual)) {
                assertEquals(one.getString("label"), other.label)
                assertEquals(one.getDouble("start"), other.start, 0.0)
                assertEquals(if (one.isNull("end")) null else one.getDouble("end"), other.end)
                assertEquals(one.getDouble("peak"), other.peak, tolerance)
                assertEquals(one.getDouble("mean"), other.mean, tolerance)
            }
        }
        println("$count starts and ends of events, all equal to Python's")
        assertTrue(count > 0)
    }

    @Test
    fun `the rules of a model without calibrated ones are Python's`() {
        assumeTrue("no golden vectors: see the README", Golden.folder != null)
        val vectors = Golden.document().getJSONObject("decisions")
        val expected = EventRules.of(vectors.getJSONObject("default_events"))
        assertEquals(expected, EventRules.defaults(vectors.getJSONArray("labels").strings(), unknown(vectors)))
        val rules = EventRules.defaults(listOf("rain", "none", "Silence"), UnknownRule("none", 0.01, 0.05))
        assertEquals(setOf("Silence", "none"), rules.ignored.toSet())
        assertEquals(99.0, rules.otherOdds, 1e-9)
        assertEquals(1.0, EventRules.defaults(listOf("none"), UnknownRule("none", 0.9, 0.05)).otherOdds, 0.0)
    }

    @Test
    fun `an event has a start, an end and hysteresis`() {
        val rules = EventRules(threshold = 0.5, release = 0.6, minimum = 0.5)
        val changes = follow(rules, rain(0.1, 0.6, 0.4, 0.9, 0.29, 0.6))
        assertEquals(listOf(0.25 to null, 0.25 to 1.0), changes.map { it.start to it.end })
        val (first, last) = changes
        assertEquals(listOf(0.6, 0.9), listOf(first.peak, last.peak))
        assertEquals((0.6 + 0.4 + 0.9) / 3, last.mean, 1e-12)
        assertEquals(0.75, last.duration!!, 0.0)
        assertEquals(null, first.duration)
    }

    @Test
    fun `the last event ends with the stream, and another stream can follow`() {
        val detector = EventDetector(labels, EventRules(), STEP)
        repeat(2) {
            val changes = (1..4).flatMap { i -> detector.update(i * STEP, doubleArrayOf(0.9, 0.0, 0.0)) } + detector.finish()
            assertEquals(listOf(Triple("rain", 0.0, 1.0)), ended(changes))
            assertEquals(emptyList<SoundEvent>(), detector.finish())
        }
    }

    @Test
    fun `thresholds are by label, some labels are never reported, and events overlap`() {
        val rows = List(4) { doubleArrayOf(0.3, 0.3, 0.9) }
        assertEquals(
            listOf(Triple("bells", 0.0, 1.0)),
            ended(follow(EventRules(thresholds = mapOf("bells" to 0.2), ignored = listOf("other")), rows)),
        )
        assertEquals(
            labels.map { Triple(it, 0.0, 1.0) },
            ended(follow(EventRules(threshold = 0.3), rows)),
        )
    }

    @Test
    fun `a long event is cut`() {
        val changes = follow(EventRules(minimum = 0.25, maximum = 1.0), rain(*DoubleArray(10) { 0.9 }))
        assertEquals(listOf(Triple("rain", 0.0, 1.0), Triple("rain", 1.0, 2.0), Triple("rain", 2.0, 2.5)), ended(changes))
    }

    @Test
    fun `digital silence is no event`() {
        val rows = rain(*DoubleArray(10) { 0.9 })
        for (level in listOf(Double.NEGATIVE_INFINITY, -85.0)) assertEquals(emptyList<SoundEvent>(), follow(EventRules(), rows, level))
        assertEquals(listOf(Triple("rain", 0.0, 2.5)), ended(follow(EventRules(), rows, -80.0)))
    }

    @Test
    fun `an event that lasts has its peak so far, and the time of day`() {
        val detector = EventDetector(labels, EventRules(minimum = 0.5), STEP)
        detector.setClock(1_000_000, 10.0)
        detector.update(12.0, doubleArrayOf(0.7, 0.0, 0.0))
        assertEquals(emptyList<SoundEvent>(), detector.lasting())
        val (start) = detector.update(12.25, doubleArrayOf(0.6, 0.8, 0.0))
        assertEquals(SoundEvent("rain", 11.75, null, 0.7, 0.65, 1_001_750), start.copy(mean = 0.65))
        assertEquals(0.65, start.mean, 1e-12)
        detector.update(12.5, doubleArrayOf(0.9, 0.8, 0.0))
        assertEquals(listOf("rain" to 0.9, "bells" to 0.8), detector.lasting().map { it.label to it.peak })
    }

    @Test
    fun `a step without a change allocates nothing`() {
        val detector = EventDetector(labels, EventRules(), STEP)
        val row = doubleArrayOf(0.9, 0.4, 0.0)
        var step = 0
        assertAllocatesNothing { detector.update(++step * STEP, row, -20.0) }
        assertEquals(1, detector.lasting().size)
    }

    private fun assertRefused(expected: String, make: () -> EventRules) {
        val error = assertThrows(ContractException::class.java) { make() }
        assertEquals("events: $expected", error.message)
    }

    @Test
    fun `refuses numbers out of range`() {
        assertRefused("threshold is 0.0; expected more than 0 and at most 1") { EventRules(threshold = 0.0) }
        assertRefused("threshold is NaN; expected more than 0 and at most 1") { EventRules(threshold = Double.NaN) }
        assertRefused("rain is 1.1; expected more than 0 and at most 1") { EventRules(thresholds = mapOf("rain" to 1.1)) }
        assertRefused("release is -0.1; expected more than 0 and at most 1") { EventRules(release = -0.1) }
        assertRefused("minimum is -1.0 s; expected 0 to 86400.0 s") { EventRules(minimum = -1.0) }
        assertRefused("maximum is Infinity s; expected 0 to 86400.0 s") { EventRules(maximum = Double.POSITIVE_INFINITY) }
        assertRefused("maximum is 2.0 s; expected more than the minimum, 2.0 s, or 0") { EventRules(minimum = 2.0, maximum = 2.0) }
        assertRefused("other_odds is 0.0; expected more than 0 and at most 1,000,000") { EventRules(otherOdds = 0.0) }
        assertRefused("false_alarms_per_day is -1.0; expected 0 to 1,000,000") { EventRules(falseAlarmsPerDay = -1.0) }
    }

    @Test
    fun `reads rules with their defaults, and refuses other fields`() {
        assertEquals(
            EventRules(0.4, emptyMap(), 0.5, 1.0),
            EventRules.of(JSONObject("""{"threshold": 0.4, "release": 0.5, "minimum": 1, "ignored": null}""")),
        )
        assertEquals(
            EventRules(
                0.4, mapOf("rain" to 0.7), 0.5, 1.0, 60.0, listOf("other"), DecisionRule(RuleName.STICKY, 9.0, 0.5), 3.0, 2.5, "a stream",
            ),
            EventRules.of(eventRules()),
        )
        for ((expected, change) in listOf<Pair<String, JSONObject.() -> Unit>>(
            "events.threshold: got nothing, expected a number" to { remove("threshold") },
            "events.minimum: got 1, expected a number" to { put("minimum", "1") },
            "events.decision.name: got nothing, expected a string" to { put("decision", JSONObject()) },
            "events.thresholds.rain: got true, expected a number" to { getJSONObject("thresholds").put("rain", true) },
            "events: got unknown fields colour" to { put("colour", 1) },
        )) {
            val error = assertThrows(JSONException::class.java) { EventRules.of(eventRules().apply(change)) }
            assertEquals(expected, error.message)
        }
    }

    private companion object {
        const val STEP = 0.25
    }
}
