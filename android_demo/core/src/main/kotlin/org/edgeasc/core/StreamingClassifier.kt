package org.edgeasc.core

/** One classification result. The next decision overwrites it. */
class Decision internal constructor(
    /** Labels, in the order of [probabilities] and [logits]. */
    val labels: List<String>,
) {
    /** Audio since the reset, s. */
    var time = 0.0
        internal set

    /** Index of the most probable class. */
    var index = 0
        internal set

    /** Probability of each class, by the classifier's rule and under the contract's temperature. */
    val probabilities = DoubleArray(labels.size)

    /** Logits of the last step. */
    val logits = FloatArray(labels.size)

    /** Time of the front end, ns. */
    var frontEndNanos = 0L
        internal set

    /** Time of the model, ns. */
    var modelNanos = 0L
        internal set

    /** Whether the sound is none of the known classes, by the contract's rule; false without a rule. */
    var unknown = false
        internal set

    /**
     * Index of the label to report. With a rule for unknown sounds: its label where [unknown], else the most probable of the other
     * labels. Without one: [index].
     */
    var answer = 0
        internal set

    /** Label of the most probable class. */
    val label: String get() = labels[index]
}

/**
 * Exact streaming: turns samples into a decision after each step of audio. Every step costs the same.
 *
 * A classifier does not share its model. A step allocates nothing besides the allocations of the engine's own interface. Not safe
 * for use by several threads.
 *
 * @param rule turns logits into probabilities; by default the contract's rule for streams without an end. For a clip from a reset,
 *   [Contract.decision] is better.
 */
class StreamingClassifier(private val model: Model, val rule: DecisionRule = model.contract.live) {
    val contract: Contract = model.contract

    private val step = contract.step

    // The front end, unless it is a part of the artefact.
    private val logMel = if (contract.input == InputKind.FEATURES) LogMel(contract.frontEnd) else null
    private val input = FloatArray(if (logMel == null) step.samples else step.frames * contract.frontEnd.mels)
    private val decision = Decision(contract.labels)
    private val other = contract.unknown?.let { contract.labels.indexOf(it.label) } ?: -1
    private val threshold = contract.unknown?.threshold ?: 1.0
    private val belief = Belief(rule, contract.labels.size, contract.stepSeconds, contract.temperature)
    private var filled = 0
    private var steps = 0
    private var spent = 0L
    private var begun = 0L
    private var listener: (Decision) -> Unit = {}

    private val sink = FrameSink { frame -> append(frame, 0, frame.size) }

    init {
        reset()
    }

    /** Starts a new stream. */
    fun reset() {
        model.reset()
        logMel?.reset()
        belief.reset()
        filled = 0
        steps = 0
        spent = 0
    }

    /**
     * Takes [count] samples in [−1, 1] from [offset] on, at the contract's rate, and reports each decision that they complete.
     *
     * @throws AudioException NaN, infinite or unscaled values; the stream is unchanged.
     */
    fun push(samples: FloatArray, offset: Int, count: Int, onDecision: (Decision) -> Unit) {
        listener = onDecision
        begun = System.nanoTime()
        if (logMel != null) {
            logMel.push(samples, offset, count, sink)
        } else {
            checkSamples(samples, offset, count)
            append(samples, offset, count)
        }
        spent += System.nanoTime() - begun
    }

    /** Takes values of the step's input, and decides whenever it is complete. */
    private fun append(values: FloatArray, offset: Int, count: Int) {
        var taken = offset
        while (taken < offset + count) {
            val part = minOf(input.size - filled, offset + count - taken)
            values.copyInto(input, filled, taken, taken + part)
            filled += part
            taken += part
            if (filled == input.size) {
                filled = 0
                spent += System.nanoTime() - begun
                val decision = decide(input)
                decision.frontEndNanos = spent
                spent = 0
                listener(decision)
                begun = System.nanoTime()
            }
        }
    }

    /** Decides on one step: on normalised log-mel, frame after frame, or on samples, as the contract's input says. */
    fun decide(input: FloatArray): Decision {
        val begun = System.nanoTime()
        model.step(input, decision.logits)
        steps++
        belief.update(decision.logits).copyInto(decision.probabilities)
        answer()
        decision.time = steps.toDouble() * step.samples / contract.frontEnd.sampleRate
        decision.modelNanos = System.nanoTime() - begun
        return decision
    }

    /** Chooses the most probable label, and applies the rule for unknown sounds. */
    private fun answer() {
        decision.index = best(without = -1)
        decision.unknown = other >= 0 && decision.probabilities[other] >= threshold
        decision.answer = when {
            decision.unknown -> other
            decision.index == other -> best(without = other)
            else -> decision.index
        }
    }

    /** Returns the index of the most probable label but one. */
    private fun best(without: Int): Int {
        var best = -1
        for (i in decision.probabilities.indices) {
            if (i != without && (best < 0 || decision.probabilities[i] > decision.probabilities[best])) best = i
        }
        return best
    }
}
