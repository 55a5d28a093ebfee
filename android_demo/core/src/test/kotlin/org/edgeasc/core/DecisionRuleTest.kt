package org.edgeasc.core

import kotlin.math.abs
import kotlin.math.exp
import org.json.JSONException
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Test

class DecisionRuleTest {
    private val forgetting = DecisionRule(RuleName.FORGETTING, 2.0)
    private val sticky = DecisionRule(RuleName.STICKY, 20.0, 0.3)
    private val rules = listOf(DecisionRule(RuleName.LAST), DecisionRule(RuleName.MEAN), forgetting, sticky)

    private fun belief(rule: DecisionRule, temperature: Double = 1.0) = Belief(rule, 2, STEP, temperature)

    @Test
    fun `all rules give the probabilities of Python`() {
        assumeTrue("no golden vectors: see the README", Golden.folder != null)
        val document = Golden.document()
        val vectors = document.getJSONObject("decisions")
        val tolerance = document.getJSONObject("tolerances").getDouble("decisions")
        val classes = vectors.getJSONArray("labels").length()
        val logits = Golden.floats(vectors.getString("logits")).toList().chunked(classes).map { it.toFloatArray() }
        val entries = vectors.getJSONArray("rules").objects()
        assertEquals(RuleName.entries.toSet(), entries.map { DecisionRule.of(it.getJSONObject("rule")).name }.toSet())
        for (entry in entries) {
            val rule = DecisionRule.of(entry.getJSONObject("rule"))
            val expected = Golden.doubles(entry.getString("probabilities"))
            val belief = Belief(rule, classes, vectors.getDouble("step"), vectors.getDouble("temperature"))
            val actual = logits.flatMap { belief.update(it).toList() }
            assertEquals(400 * classes, expected.size)
            val worst = expected.indices.maxOf { abs(expected[it] - actual[it]) }
            println("$rule: probabilities differ by $worst")
            assertArrayEquals(expected, actual.toDoubleArray(), tolerance)
        }
    }

    @Test
    fun `the default is Python's`() {
        assumeTrue("no golden vectors: see the README", Golden.folder != null)
        val expected = Golden.document().getJSONObject("decisions").getJSONObject("default_live")
        assertEquals(DecisionRule.of(expected), DecisionRule.DEFAULT_LIVE)
    }

    @Test
    fun `forgetting weighs steps by their age`() {
        val belief = belief(forgetting, temperature = 3.0)
        belief.update(floatArrayOf(1f, 0f))
        belief.update(floatArrayOf(0f, 5f))
        val keep = exp(-STEP / 2.0)
        val scores = listOf(keep, 5.0).map { exp(it / (1 + keep) / 3.0) }
        assertEquals(scores[0] / scores.sum(), belief.probabilities[0], 1e-12)
    }

    @Test
    fun `sticky is the forward filter of a hidden Markov model`() {
        val belief = belief(sticky, temperature = 2.0)
        var first = 0.5
        for (logit in listOf(1.5f, -2f, 0.5f)) {
            val stay = exp(-STEP / 20.0)
            val moved = stay * first + (1 - stay) / 2
            val evidence = exp(0.3 * logit / 2)
            first = moved * evidence / (moved * evidence + 1 - moved)
            assertEquals(first, belief.update(floatArrayOf(logit, 0f))[0], 1e-12)
        }
    }

    @Test
    fun `after an hour of rain, bells show within seconds, unless the rule is the mean`() {
        for (rule in rules) {
            val belief = belief(rule)
            repeat((3600 / STEP).toInt()) { belief.update(floatArrayOf(3f, 0f)) }
            val steps = (1..19).firstOrNull { belief.update(floatArrayOf(0f, 3f))[1] > 0.5 }
            assertEquals("$rule: $steps steps", rule.name != RuleName.MEAN, steps != null && steps * STEP < 5)
        }
    }

    @Test
    fun `a reset forgets everything`() {
        for (rule in rules) {
            val belief = belief(rule)
            val first = belief.update(floatArrayOf(1f, 0f)).copyOf()
            belief.update(floatArrayOf(-9f, 9f))
            belief.reset()
            assertArrayEquals(doubleArrayOf(0.5, 0.5), belief.probabilities, 0.0)
            assertArrayEquals(first, belief.update(floatArrayOf(1f, 0f)), 0.0)
        }
    }

    @Test
    fun `large logits stay finite`() {
        for (rule in rules) {
            val belief = belief(rule)
            belief.update(floatArrayOf(1e6f, -1e6f))
            assertArrayEquals(doubleArrayOf(1.0, 0.0), belief.probabilities, 0.0)
            assertTrue(belief.update(floatArrayOf(-2e6f, 2e6f)).all { it in 0.0..1.0 })
        }
    }

    @Test
    fun `a step allocates nothing`() {
        val logits = floatArrayOf(1f, 2f)
        for (rule in rules) {
            val belief = belief(rule)
            assertAllocatesNothing { belief.update(logits) }
        }
    }

    private fun assertRefused(expected: String, name: RuleName, seconds: Double = 0.0, weight: Double = 1.0) {
        val error = assertThrows(ContractException::class.java) { DecisionRule(name, seconds, weight) }
        assertEquals("decision rule ${name.name.lowercase()}$expected", error.message)
    }

    @Test
    fun `refuses parameters out of range`() {
        assertRefused(" has parameters; expected none: only others have some", RuleName.LAST, seconds = 1.0)
        assertRefused(" has parameters; expected none: only others have some", RuleName.MEAN, weight = 0.5)
        assertRefused(": seconds is 0.0; expected more than 0 and at most 86400.0", RuleName.FORGETTING)
        assertRefused(": seconds is NaN; expected more than 0 and at most 86400.0", RuleName.STICKY, seconds = Double.NaN)
        assertRefused(": seconds is 86401.0; expected more than 0 and at most 86400.0", RuleName.STICKY, seconds = 86_401.0)
        assertRefused(": weight is 0.5; expected 1", RuleName.FORGETTING, 2.0, 0.5)
        assertRefused(": weight is 0.0; expected more than 0 and at most 1", RuleName.STICKY, 2.0, 0.0)
        assertRefused(": weight is 1.5; expected more than 0 and at most 1", RuleName.STICKY, 2.0, 1.5)
    }

    @Test
    fun `reads a rule with its defaults, and refuses other fields`() {
        assertEquals(DecisionRule(RuleName.MEAN), DecisionRule.of(JSONObject("""{"name": "mean"}""")))
        assertEquals(sticky, DecisionRule.of(JSONObject("""{"name": "sticky", "seconds": 20, "weight": 0.3}""")))
        for ((text, expected) in listOf(
            """{"seconds": 2}""" to "live.name: got nothing, expected a string",
            """{"name": "sticky", "seconds": "2"}""" to "live.seconds: got 2, expected a number",
            """{"name": "sticky", "seconds": true}""" to "live.seconds: got true, expected a number",
            """{"name": "last", "minutes": 2, "hours": 1}""" to "live: got unknown fields hours, minutes",
        )) {
            val error = assertThrows(JSONException::class.java) { DecisionRule.of(JSONObject(text)) }
            assertEquals(expected, error.message)
        }
    }

    private companion object {
        const val STEP = 0.256
    }
}
