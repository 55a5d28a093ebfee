package org.edgeasc.core

import kotlin.math.log10

/**
 * The last events of live audio, for a screen: those that last, and those that ended within the last [seconds].
 *
 * Events follow the contract's rules; without any, the rules of a model that was not calibrated. Not safe for use by several threads.
 *
 * @param seconds how long an event is kept after its end.
 * @param capacity largest number of ended events that are kept.
 */
class EventLog(contract: Contract, private val seconds: Double, private val capacity: Int = 20) {
    private val rules = contract.events ?: EventRules.defaults(contract.labels, contract.unknown)
    private val belief = rules.makeBelief(contract)
    private val detector = EventDetector(contract.labels, rules, contract.stepSeconds)
    private val ended = ArrayDeque<SoundEvent>()
    private var energy = 0.0
    private var count = 0
    private var level = Double.NEGATIVE_INFINITY
    private var started = false

    /**
     * Takes samples of the next step, for its level: push them here before they complete a decision.
     *
     * The level is that of the step alone if no chunk reaches into the next step, as with chunks of one hop.
     */
    fun push(samples: FloatArray, offset: Int, count: Int) {
        for (i in offset until offset + count) energy += samples[i].toDouble() * samples[i]
        this.count += count
    }

    /** Takes a decision, which is made at [now], ms since 1970. */
    fun update(decision: Decision, now: Long) {
        if (!started) detector.setClock(now, decision.time)
        started = true
        if (count > 0) level = 10 * log10(energy / count)
        energy = 0.0
        count = 0
        keep(detector.update(decision.time, belief.update(decision.logits), level))
        while (ended.isNotEmpty() && (ended.size > capacity || isOld(ended.last(), now))) ended.removeLast()
    }

    /** Ends all events: the next samples are those of a new stream, such as after a gap. */
    fun restart() {
        keep(detector.finish())
        belief.reset()
        energy = 0.0
        count = 0
        started = false
    }

    /** Returns the events, the newest first: those that last, then those that have ended. */
    fun events(): List<SoundEvent> = detector.lasting().asReversed() + ended

    private fun keep(changes: List<SoundEvent>) {
        for (event in changes) if (event.end != null) ended.addFirst(event)
    }

    private fun isOld(event: SoundEvent, now: Long): Boolean {
        val age = now - (event.began ?: now)
        return age > 1000 * (seconds + (event.duration ?: 0.0))
    }
}
