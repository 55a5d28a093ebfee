package org.edgeasc.demo

import android.annotation.SuppressLint
import android.media.AudioFormat
import android.media.AudioRecord
import android.media.MediaRecorder
import kotlin.math.max
import org.edgeasc.core.Resampler
import org.edgeasc.core.RingBuffer

/** A problem of the microphone. */
enum class Problem(val text: Int) {
    UNAVAILABLE(R.string.microphone_unavailable),
    LOST(R.string.microphone_lost),
    SILENT(R.string.microphone_silent),
}

/**
 * Records into [ring] at [rate] Hz, resampling where the device does not record at that rate, until it is stopped.
 *
 * When another app takes the microphone, it tries again every second.
 *
 * @param onProblem receives each change: a problem, or null once there is none.
 */
class Microphone(
    private val rate: Int,
    private val ring: RingBuffer,
    private val onProblem: (Problem?) -> Unit,
) : Thread("microphone") {
    @Volatile
    private var stopped = false
    private var reported: Problem? = null

    /** Ends the recording. */
    fun finish() {
        stopped = true
        interrupt()
    }

    override fun run() {
        try {
            while (!stopped) {
                val record = open()
                if (record == null) {
                    report(Problem.UNAVAILABLE)
                } else {
                    try {
                        listen(record)
                    } catch (_: IllegalStateException) {
                        report(Problem.LOST)
                    } finally {
                        record.release()
                    }
                }
                if (!stopped) sleep(RETRY_MS)
            }
        } catch (_: InterruptedException) {
            // `finish` has interrupted it.
        }
    }

    // The activity starts this only with the permission.
    @SuppressLint("MissingPermission")
    private fun open(): AudioRecord? {
        for (candidate in listOf(rate) + FALLBACKS) {
            val size = AudioRecord.getMinBufferSize(candidate, CHANNEL, ENCODING)
            if (size <= 0) continue
            val record = try {
                AudioRecord(MediaRecorder.AudioSource.VOICE_RECOGNITION, candidate, CHANNEL, ENCODING, max(size, candidate))
            } catch (_: IllegalArgumentException) {
                continue
            } catch (_: SecurityException) {
                return null
            }
            if (record.state == AudioRecord.STATE_INITIALIZED) return record
            record.release()
        }
        return null
    }

    private fun listen(record: AudioRecord) {
        val resampler = Resampler(record.sampleRate, rate).takeIf { record.sampleRate != rate }
        val chunk = FloatArray(record.sampleRate / CHUNKS_PER_SECOND)
        val resampled = resampler?.let { FloatArray(it.maxOutput(chunk.size)) }
        record.startRecording()
        ring.clear()
        var silent = 0
        while (!stopped) {
            val count = record.read(chunk, 0, chunk.size, AudioRecord.READ_BLOCKING)
            if (count <= 0) return report(Problem.LOST)
            // A microphone has noise; the system gives only zeros while another app, or a call, has the microphone.
            silent = if ((0 until count).all { chunk[it] == 0f }) silent + count else 0
            val now = if (silent > SILENT_SECONDS * record.sampleRate) Problem.SILENT else null
            if (now != null && reported != now) ring.clear()
            report(now)
            if (now != null) continue
            if (resampler == null || resampled == null) {
                ring.write(chunk, 0, count)
            } else {
                ring.write(resampled, 0, resampler.push(chunk, 0, count, resampled))
            }
        }
        record.stop()
    }

    private fun report(now: Problem?) {
        if (now != reported) onProblem(now)
        reported = now
    }

    private companion object {
        const val CHANNEL = AudioFormat.CHANNEL_IN_MONO
        const val ENCODING = AudioFormat.ENCODING_PCM_FLOAT
        const val RETRY_MS = 1000L
        const val CHUNKS_PER_SECOND = 20
        const val SILENT_SECONDS = 2
        val FALLBACKS = listOf(48_000, 44_100)
    }
}
