package org.edgeasc.demo

import android.os.Handler
import android.os.Looper
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import kotlin.math.log10
import kotlin.math.max
import kotlin.math.sqrt
import org.edgeasc.core.RingBuffer
import org.edgeasc.core.StreamingClassifier

/** What is shown: it does not change. */
class Snapshot(
    val labels: List<String>,
    val probabilities: List<Float>,
    val index: Int,
    val history: List<Int>,
    val historyCapacity: Int,
    val levelDb: Float,
    val frontEndMs: Double,
    val modelMs: Double,
    val stepMs: Double,
    val lostSamples: Long,
)

/** Listens with one model; told on the main thread. It outlives an activity that is rotated. */
class Listener {
    /** Told of each decision. */
    var onSnapshot: (Snapshot) -> Unit = {}

    /** Told what is wrong with the microphone; null when nothing is. */
    var onProblem: (Problem?) -> Unit = {}

    /** Told why a model cannot be used. */
    var onRefused: (String) -> Unit = {}

    /** The last of each that was told, for an activity that comes anew. */
    var last: Snapshot? = null
        private set
    var problem: Problem? = null
        private set
    var refusal: String? = null
        private set

    /** The file that it listens with; null when it does not listen. */
    val file: String? get() = session?.file

    private val main = Handler(Looper.getMainLooper())
    private var session: Session? = null

    /** Listens with a file among the artefacts, in place of the one before. */
    fun start(artefacts: Artefacts, file: String) {
        stop()
        session = Session(artefacts, file).also { sessions.execute(it::run) }
    }

    /** Lets the microphone go. */
    fun stop() {
        session?.finish()
        session = null
        last = null
        problem = null
        refusal = null
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

        private fun tell(what: () -> Unit) {
            main.post { if (!finished) what() }
        }

        private fun report(now: Problem?) = tell {
            problem = now
            onProblem(now)
        }

        fun run() {
            if (finished) return
            try {
                artefacts.open(file).use { model -> classify(StreamingClassifier(model)) }
            } catch (error: Throwable) {
                // Whatever it is, the one who looks is told why nothing is heard.
                val told = "$file: ${error.message ?: error.javaClass.simpleName}"
                tell {
                    refusal = told
                    onRefused(told)
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
                val stepSeconds = contract.step.samples.toDouble() / rate
                val capacity = (HISTORY_SECONDS / stepSeconds).toInt()
                val history = ArrayDeque<Int>(capacity)
                val chunk = FloatArray(contract.frontEnd.hop)
                var level = 0f
                var gaps = buffer.gaps
                while (buffer.read(chunk)) {
                    // What was heard before does not join what comes after a gap.
                    if (buffer.gaps != gaps) {
                        gaps = buffer.gaps
                        classifier.reset()
                    }
                    level = max(level * LEVEL_DECAY, rms(chunk))
                    classifier.push(chunk, 0, chunk.size) { decision ->
                        if (history.size == capacity) history.removeFirst()
                        history.addLast(decision.index)
                        val snapshot = Snapshot(
                            decision.labels,
                            decision.probabilities.toList(),
                            decision.index,
                            history.toList(),
                            capacity,
                            20 * log10(max(level, 1e-5f)),
                            decision.frontEndNanos / 1e6,
                            decision.modelNanos / 1e6,
                            1000 * stepSeconds,
                            buffer.lost,
                        )
                        tell {
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
        // One after another: a microphone is opened when the session before has let it go.
        val sessions: ExecutorService = Executors.newSingleThreadExecutor()
        const val BUFFER_SECONDS = 4
        const val HISTORY_SECONDS = 60
        const val LEVEL_DECAY = 0.9f
    }
}
