package org.edgeasc.core

import kotlin.math.exp

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

    /** Probability of each class, under the contract's temperature. */
    val probabilities = FloatArray(labels.size)

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
 */
class StreamingClassifier(private val model: Model) {
    val contract: Contract = model.contract

    private val step = contract.step
    private val logMel = LogMel(contract.frontEnd)
    private val features = FloatArray(step.frames * contract.frontEnd.mels)
    private val decision = Decision(contract.labels)
    private val other = contract.unknown?.let { contract.labels.indexOf(it.label) } ?: -1
    private val threshold = contract.unknown?.threshold ?: 1.0
    private val total = DoubleArray(contract.labels.size)
    private val scores = DoubleArray(contract.labels.size)
    private var frames = 0
    private var steps = 0
    private var spent = 0L
    private var begun = 0L
    private var listener: (Decision) -> Unit = {}

    private val sink = FrameSink { frame ->
        frame.copyInto(features, frames * frame.size)
        if (++frames == step.frames) {
            frames = 0
            spent += System.nanoTime() - begun
            val decision = decide(features)
            decision.frontEndNanos = spent
            spent = 0
            listener(decision)
            begun = System.nanoTime()
        }
    }

    init {
        reset()
    }

    /** Starts a new stream. */
    fun reset() {
        model.reset()
        logMel.reset()
        total.fill(0.0)
        frames = 0
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
        logMel.push(samples, offset, count, sink)
        spent += System.nanoTime() - begun
    }

    /** Decides on the frames of one step, normalised log-mel, frame after frame. */
    fun decide(features: FloatArray): Decision {
        val begun = System.nanoTime()
        model.step(features, decision.logits)
        steps++
        for (i in scores.indices) {
            total[i] += decision.logits[i]
            // Log-softmax subtracts one number from all logits; the softmax of the mean does not depend on it.
            scores[i] = if (contract.rule == Rule.MEAN) total[i] / steps else decision.logits[i].toDouble()
        }
        softmax()
        answer()
        decision.time = steps.toDouble() * step.samples / contract.frontEnd.sampleRate
        decision.modelNanos = System.nanoTime() - begun
        return decision
    }

    private fun softmax() {
        var best = 0
        for (i in scores.indices) if (scores[i] > scores[best]) best = i
        val highest = scores[best]
        var sum = 0.0
        for (i in scores.indices) {
            scores[i] = exp((scores[i] - highest) / contract.temperature)
            sum += scores[i]
        }
        for (i in scores.indices) {
            scores[i] /= sum
            decision.probabilities[i] = scores[i].toFloat()
        }
        decision.index = best
    }

    /** Applies the rule for unknown sounds to the probabilities, which are in [scores]. */
    private fun answer() {
        decision.unknown = other >= 0 && scores[other] >= threshold
        decision.answer = decision.index
        if (decision.unknown) {
            decision.answer = other
        } else if (decision.index == other) {
            var best = -1
            for (i in scores.indices) if (i != other && (best < 0 || scores[i] > scores[best])) best = i
            if (best >= 0) decision.answer = best
        }
    }
}
