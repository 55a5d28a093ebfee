package org.edgeasc.core

/**
 * One event of one label.
 *
 * @param start seconds of audio from the start of the stream.
 * @param end the same; null while the event lasts.
 * @param peak highest probability of the label since the start.
 * @param mean mean probability of the label since the start.
 * @param began wall-clock time of the start, ms since 1970; null where nobody knows it.
 */
data class SoundEvent(
    val label: String,
    val start: Double,
    val end: Double?,
    val peak: Double,
    val mean: Double,
    val began: Long?,
) {
    /** Seconds from start to end; null while the event lasts. */
    val duration: Double? get() = end?.minus(start)
}

/**
 * Events of one stream. A step in which no event changes allocates nothing.
 *
 * @param labels of the probabilities.
 * @param rules when a probability is an event; the probabilities come from its own decision rule, [EventRules.makeBelief].
 * @param step seconds of audio of one decision.
 */
class EventDetector(val labels: List<String>, val rules: EventRules, val step: Double) {
    /** A label whose probability is above its threshold, if it is [active]. */
    private class Run(val threshold: Double) {
        var active = false
        var reported = false
        var start = 0.0
        var peak = 0.0
        var total = 0.0
        var count = 0

        fun begin(time: Double) {
            active = true
            reported = false
            start = time
            peak = 0.0
            total = 0.0
            count = 0
        }
    }

    private val runs = labels.map { Run(rules.of(it)) }
    private val isReported = BooleanArray(labels.size) { labels[it] !in rules.ignored }
    private val changes = ArrayList<SoundEvent>()
    private var time = 0.0
    private var clock: Long? = null

    /** Sets which wall-clock time, [millis] since 1970, belongs to a [time] of the stream, s, from here on. */
    fun setClock(millis: Long, time: Double) {
        clock = millis - Math.round(1000 * time)
    }

    /**
     * Takes the probabilities after a step, and returns the events that were confirmed or have ended in it.
     *
     * An event is returned twice: without an end when it has lasted for the shortest time, and with its end.
     *
     * @param time end of the step, s from the start of the stream.
     * @param level of the step's samples, dBFS; no event starts or lasts in digital silence.
     */
    fun update(time: Double, probabilities: DoubleArray, level: Double = 0.0): List<SoundEvent> {
        this.time = time
        for (index in runs.indices) {
            if (isReported[index]) follow(index, if (level > QUIETEST) probabilities[index] else 0.0)
        }
        return takeChanges()
    }

    /** Returns the events that still last, with the end of the stream as their end. A new stream can follow. */
    fun finish(): List<SoundEvent> {
        for (index in active()) end(index, time)
        return takeChanges()
    }

    /** Returns the confirmed events that last, the first to start first. */
    fun lasting(): List<SoundEvent> = active().filter { runs[it].reported }.map { event(it, null) }

    private fun active() = runs.indices.filter { runs[it].active }.sortedBy { runs[it].start }

    private fun takeChanges(): List<SoundEvent> {
        if (changes.isEmpty()) return emptyList()
        return changes.toList().also { changes.clear() }
    }

    private fun follow(index: Int, p: Double) {
        val run = runs[index]
        if (run.active && p < run.threshold * rules.release) return end(index, time - step)
        if (run.active && rules.maximum > 0 && time - run.start > rules.maximum) end(index, time - step)
        if (!run.active) {
            if (p < run.threshold) return
            run.begin(time - step)
        }
        if (p > run.peak) run.peak = p
        run.total += p
        run.count++
        if (!run.reported && time - run.start >= rules.minimum - ROUNDING) {
            run.reported = true
            changes += event(index, null)
        }
    }

    private fun end(index: Int, time: Double) {
        runs[index].active = false
        if (runs[index].reported) changes += event(index, time)
    }

    private fun event(index: Int, end: Double?): SoundEvent {
        val run = runs[index]
        val began = clock?.let { it + Math.round(1000 * run.start) }
        return SoundEvent(labels[index], run.start, end, run.peak, run.total / run.count, began)
    }

    private companion object {
        /** dBFS: quieter than any microphone's noise, louder than the rounding of 16 bits. */
        const val QUIETEST = -85.0

        /** s, of times that are sums of steps. */
        const val ROUNDING = 1e-9
    }
}
