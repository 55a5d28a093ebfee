package org.edgeasc.demo

import android.os.Handler
import android.os.Looper
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import kotlin.math.log10
import kotlin.math.max
import kotlin.math.sqrt
import org.edgeasc.core.EventLog
import org.edgeasc.core.RingBuffer
import org.edgeasc.core.SoundEvent
import org.edgeasc.core.StreamingClassifier

/** The immutable content of the screen after one decision, which is based on audio up to [time], s. */
class Snapshot(
    val time: Double,
    val labels: List<String>,
    val probabilities: List<Double>,
    val index: Int,
    val history: List<Int>,
    val historyCapacity: Int,
    val events: List<SoundEvent>,
    val levelDb: Float,
    val frontEndMs: Double,
    val modelMs: Double,
    val stepMs: Double,
    val lostSamples: Long,
)

/**
 * Classifies the microphone with one model, by the contract's rules for streams and for events. It calls back on the main thread,
 * and outlives an activity that is rotated.
 */
class Listener {
    /** Receives each decision. */
    var onSnapshot: (Snapshot) -> Unit = {}

    /** Receives a problem of the microphone; null once there is none. */
    var onProblem: (Problem?) -> Unit = {}

    /** Receives the reason why a model cannot be used. */
    var onFailure: (String) -> Unit = {}

    /** The last value of each, for an activity that is recreated. */
    var last: Snapshot? = null
        private set
    var problem: Problem? = null
        private set
    var failure: String? = null
        private set

    /** The artefact in use; null when none is. */
    val file: String? get() = session?.file

    private val main = Handler(Looper.getMainLooper())
    private var session: Session? = null

    /** Starts with a file of the artefacts; ends the session before. */
    fun start(artefacts: Artefacts, file: String) {
        stop()
        session = Session(artefacts, file).also { sessions.execute(it::run) }
    }

    /** Releases the microphone. */
    fun stop() {
        session?.finish()
        session = null
        last = null
        problem = null
        failure = null
    }

    private inner class Session(private val artefacts: Artefacts, val file: String) {
        @Volatile
        private var finished = false

        @Volatile
        private var ring: RingBuffer? = null

        fun finish() {
            finished = true
            ring?.close()
        }

        private fun post(action: () -> Unit) {
            main.post { if (!finished) action() }
        }

        private fun report(current: Problem?) = post {
            problem = current
            onProblem(current)
        }

        fun run() {
            if (finished) return
            try {
                artefacts.open(file).use { model -> classify(StreamingClassifier(model)) }
            } catch (error: Throwable) {
                // Any error is shown: without a decision, the screen would be empty.
                val reason = "$file: ${error.message ?: error.javaClass.simpleName}"
                post {
                    failure = reason
                    onFailure(reason)
                }
            }
        }

        private fun classify(classifier: StreamingClassifier) {
            val contract = classifier.contract
            val rate = contract.frontEnd.sampleRate
            val buffer = RingBuffer(BUFFER_SECONDS * rate)
            ring = buffer
            if (finished) return
            val microphone = Microphone(rate, buffer, ::report)
            microphone.start()
            try {
                val capacity = (HISTORY_SECONDS / contract.stepSeconds).toInt()
                val history = ArrayDeque<Int>(capacity)
                val log = EventLog(contract, EVENT_SECONDS)
                val chunk = FloatArray(contract.frontEnd.hop)
                var level = 0f
                var gaps = buffer.gaps
                while (buffer.read(chunk)) {
                    // The samples before and after a gap are not adjacent.
                    if (buffer.gaps != gaps) {
                        gaps = buffer.gaps
                        classifier.reset()
                        log.restart()
                    }
                    log.push(chunk, 0, chunk.size)
                    level = max(level * LEVEL_DECAY, rms(chunk))
                    classifier.push(chunk, 0, chunk.size) { decision ->
                        if (history.size == capacity) history.removeFirst()
                        history.addLast(decision.answer)
                        log.update(decision, System.currentTimeMillis())
                        val snapshot = Snapshot(
                            decision.time,
                            decision.labels,
                            decision.probabilities.toList(),
                            decision.answer,
                            history.toList(),
                            capacity,
                            log.events(),
                            20 * log10(max(level, 1e-5f)),
                            decision.frontEndNanos / 1e6,
                            decision.modelNanos / 1e6,
                            1000 * contract.stepSeconds,
                            buffer.lost,
                        )
                        post {
                            last = snapshot
                            onSnapshot(snapshot)
                        }
                    }
                }
            } finally {
                microphone.finish()
                microphone.join()
            }
        }

        private fun rms(chunk: FloatArray): Float {
            var sum = 0f
            for (value in chunk) sum += value * value
            return sqrt(sum / chunk.size)
        }
    }

    private companion object {
        // One at a time: a session opens the microphone after the session before has released it.
        val sessions: ExecutorService = Executors.newSingleThreadExecutor()
        const val BUFFER_SECONDS = 4
        const val HISTORY_SECONDS = 60
        const val EVENT_SECONDS = 300.0
        const val LEVEL_DECAY = 0.9f
    }
}
