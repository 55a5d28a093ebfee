package org.edgeasc.core

import kotlin.math.ln
import org.json.JSONObject

/**
 * When a label's probability is an event: from where it reaches the label's threshold, to where it falls below [release] times the
 * threshold. Events of different labels may overlap.
 *
 * @param threshold probability from which on a label is an event, where [thresholds] does not name the label.
 * @param thresholds probability by label.
 * @param release an event ends below this share of its threshold.
 * @param minimum shortest event, s; shorter ones are not reported.
 * @param maximum longest event, s; a longer one ends there and another one starts. 0 for no limit.
 * @param ignored labels that are never reported.
 * @param decision how the logits become the probability: not as for decisions, which should stay with a label while a sound goes on.
 * @param otherOdds factor on the odds of the model's label for unknown sounds; a model without such a label ignores it.
 * @param falseAlarmsPerDay of all labels together, with these thresholds; null where it was not measured.
 * @param measuredOn the stream that it was measured on, in words.
 * @throws ContractException on construction, a number is out of range.
 */
data class EventRules(
    val threshold: Double = 0.5,
    val thresholds: Map<String, Double> = emptyMap(),
    val release: Double = 0.6,
    val minimum: Double = 0.5,
    val maximum: Double = 0.0,
    val ignored: List<String> = emptyList(),
    val decision: DecisionRule = DEFAULT_DECISION,
    val otherOdds: Double = 1.0,
    val falseAlarmsPerDay: Double? = null,
    val measuredOn: String = "",
) {
    init {
        for ((name, value) in listOf("threshold" to threshold) + thresholds.toList() + ("release" to release)) {
            if (!(value > 0 && value <= 1)) {
                throw ContractException("events: $name is $value; expected more than 0 and at most 1")
            }
        }
        for ((name, value) in listOf("minimum" to minimum, "maximum" to maximum)) {
            if (!(value >= 0 && value <= LONGEST)) {
                throw ContractException("events: $name is $value s; expected 0 to $LONGEST s")
            }
        }
        if (maximum > 0 && maximum <= minimum) {
            throw ContractException("events: maximum is $maximum s; expected more than the minimum, $minimum s, or 0")
        }
        if (!(otherOdds > 0 && otherOdds <= MOST_ODDS)) {
            throw ContractException("events: other_odds is $otherOdds; expected more than 0 and at most 1,000,000")
        }
        if (falseAlarmsPerDay != null && !(falseAlarmsPerDay >= 0 && falseAlarmsPerDay <= MOST_ALARMS)) {
            throw ContractException("events: false_alarms_per_day is $falseAlarmsPerDay; expected 0 to 1,000,000")
        }
    }

    /** The labels that the rules name. */
    val labels: Set<String> get() = thresholds.keys + ignored

    /** Returns the threshold of a label. */
    fun of(label: String): Double = thresholds[label] ?: threshold

    /** Returns what turns the logits of a stream of the [contract]'s model into the probabilities that events are found in. */
    fun makeBelief(contract: Contract): Belief {
        val logOdds = DoubleArray(contract.labels.size)
        contract.unknown?.let { logOdds[contract.labels.indexOf(it.label)] = ln(otherOdds) }
        return Belief(decision, contract.labels.size, contract.stepSeconds, contract.temperature, logOdds)
    }

    companion object {
        private const val LONGEST = 86_400.0
        private const val MOST_ALARMS = 1e6
        private const val MOST_ODDS = 1e6

        /** Events of a few seconds are found, and a single odd step is not one. */
        private val DEFAULT_DECISION = DecisionRule(RuleName.FORGETTING, 1.5)

        /** Labels, in lower case, that are no sound of interest. */
        private val BACKGROUND = setOf("other", "background", "noise", "silence", "unknown")

        /**
         * Returns rules for a model without calibrated ones: labels that mean no sound of interest are ignored.
         *
         * @param labels of the model.
         * @param unknown its rule for sounds of no other label. Where its label has just the threshold's probability, the sound is as
         *     likely to be unknown as to be known for events.
         */
        fun defaults(labels: List<String>, unknown: UnknownRule? = null): EventRules {
            val ignored = labels.filter { it.lowercase() in BACKGROUND }
            if (unknown == null) return EventRules(ignored = ignored)
            val odds = (1 - unknown.threshold) / unknown.threshold
            return EventRules(ignored = (ignored + unknown.label).distinct(), otherOdds = odds.coerceIn(1.0, MOST_ODDS))
        }

        /**
         * Reads the object `events` of a contract.
         *
         * @throws ContractException a number is out of range.
         * @throws org.json.JSONException a field is missing, unknown or of another type.
         */
        fun of(value: JSONObject): EventRules {
            val where = "events"
            value.checkNames(
                where, "threshold", "thresholds", "release", "minimum", "maximum", "ignored", "decision", "other_odds",
                "false_alarms_per_day", "measured_on",
            )
            val thresholds = if (value.isNull("thresholds")) JSONObject() else value.getJSONObject("thresholds")
            return EventRules(
                threshold = value.number(where, "threshold"),
                thresholds = thresholds.names.associateWith { thresholds.number("$where.thresholds", it) },
                release = value.number(where, "release"),
                minimum = value.number(where, "minimum"),
                maximum = value.number(where, "maximum", 0.0),
                ignored = if (value.isNull("ignored")) emptyList() else value.getJSONArray("ignored").strings(),
                decision = if (value.isNull("decision")) DEFAULT_DECISION else DecisionRule.of(value.getJSONObject("decision"), "$where.decision"),
                otherOdds = value.number(where, "other_odds", 1.0),
                falseAlarmsPerDay = value.takeUnless { it.isNull("false_alarms_per_day") }?.number(where, "false_alarms_per_day"),
                measuredOn = value.text(where, "measured_on", ""),
            )
        }
    }
}
