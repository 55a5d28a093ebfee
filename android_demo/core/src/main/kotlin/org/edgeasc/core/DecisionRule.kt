package org.edgeasc.core

import kotlin.math.exp
import kotlin.math.ln
import org.json.JSONObject

/** Names of the decision rules; a contract spells them in lower case. */
enum class RuleName {
    LAST,
    MEAN,
    FORGETTING,
    STICKY,
    ;

    /** Whether the rule is one for clips, which has no parameters. */
    val isForClips: Boolean get() = this == LAST || this == MEAN
}

/**
 * How the logits of all steps since a reset become probabilities.
 *
 * "last": softmax of the last logits. "mean": softmax of their mean since the reset, the rule for one clip. "forgetting": the same
 * with weights that fall by 1/e in [seconds]. "sticky": a hidden Markov filter over the labels. A label stays for [seconds] on
 * average and then gives way to any label alike; each step's softmax, to the power of [weight], is the evidence.
 *
 * @param seconds time constant of "forgetting", or expected stay of a label of "sticky", s; 0 for the other two rules.
 * @param weight of one step's evidence in "sticky", above 0 and at most 1; 1 for the other rules.
 * @throws ContractException on construction, a parameter is out of range or not one of this rule.
 */
data class DecisionRule(val name: RuleName, val seconds: Double = 0.0, val weight: Double = 1.0) {
    init {
        val rule = "decision rule ${name.name.lowercase()}"
        if (name.isForClips) {
            if (seconds != 0.0 || weight != 1.0) {
                throw ContractException("$rule has parameters; expected none: only others have some")
            }
        } else if (!(seconds > 0 && seconds <= LONGEST)) {
            throw ContractException("$rule: seconds is $seconds; expected more than 0 and at most $LONGEST")
        } else if (name == RuleName.FORGETTING && weight != 1.0) {
            throw ContractException("$rule: weight is $weight; expected 1")
        } else if (!(weight > 0 && weight <= 1)) {
            throw ContractException("$rule: weight is $weight; expected more than 0 and at most 1")
        }
    }

    companion object {
        private const val LONGEST = 86_400.0

        /** The rule of live decisions where a contract names none. */
        val DEFAULT_LIVE = DecisionRule(RuleName.FORGETTING, 2.0)

        /**
         * Reads a rule from the object [where] of a contract.
         *
         * @throws ContractException a number is out of range, or the name is unknown.
         * @throws org.json.JSONException a field is missing, unknown or of another type.
         */
        fun of(value: JSONObject, where: String = "live"): DecisionRule {
            value.checkNames(where, "name", "seconds", "weight")
            return DecisionRule(
                choice("$where.name", value.text(where, "name")),
                value.number(where, "seconds", 0.0),
                value.number(where, "weight", 1.0),
            )
        }
    }
}

/**
 * The probability of each label in one stream, by one rule, step after step. A step allocates nothing.
 *
 * @param classes number of labels.
 * @param step time between two outputs of the model, s.
 * @param temperature divisor of the logits.
 * @param logOdds added to the logits of each step after their division.
 */
class Belief(
    val rule: DecisionRule,
    classes: Int,
    step: Double,
    private val temperature: Double = 1.0,
    logOdds: DoubleArray = DoubleArray(classes),
) {
    // "last" and "mean" are the limits of forgetting.
    private val keep = when (rule.name) {
        RuleName.LAST -> 0.0
        RuleName.MEAN -> 1.0
        RuleName.FORGETTING, RuleName.STICKY -> exp(-step / rule.seconds)
    }
    private val shift = DoubleArray(classes) { temperature * logOdds[it] }
    private val total = DoubleArray(classes)
    private var count = 0.0

    /** The probability of each label; the next update overwrites it, and continues from it. */
    val probabilities = DoubleArray(classes)

    init {
        reset()
    }

    /** Forgets all outputs. */
    fun reset() {
        total.fill(0.0)
        count = 0.0
        probabilities.fill(1.0 / probabilities.size)
    }

    /** Takes the [logits] of a step, and returns the [probabilities] after it. */
    fun update(logits: FloatArray): DoubleArray {
        if (rule.name == RuleName.STICKY) filter(logits) else average(logits)
        return probabilities
    }

    private fun filter(logits: FloatArray) {
        val evidence = rule.weight / temperature
        val moved = (1.0 - keep) / probabilities.size
        for (i in probabilities.indices) {
            probabilities[i] = ln(keep * probabilities[i] + moved) + (logits[i] + shift[i]) * evidence
        }
        softmax(probabilities)
    }

    private fun average(logits: FloatArray) {
        count = keep * count + 1.0
        for (i in total.indices) {
            // Log-softmax subtracts one number from all logits of a step, which the softmax of their mean ignores.
            total[i] = keep * total[i] + (logits[i] + shift[i])
            probabilities[i] = total[i] / count
        }
        softmax(probabilities, temperature)
    }
}

/** Replaces scores by their softmax. */
private fun softmax(scores: DoubleArray, temperature: Double = 1.0) {
    var highest = scores[0]
    for (score in scores) if (score > highest) highest = score
    var sum = 0.0
    for (i in scores.indices) {
        scores[i] = exp((scores[i] - highest) / temperature)
        sum += scores[i]
    }
    for (i in scores.indices) scores[i] /= sum
}
