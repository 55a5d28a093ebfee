package org.edgeasc.core

import kotlin.concurrent.withLock
import kotlin.math.min

/** A queue of at most [capacity] samples, from the thread that records to the one that classifies. */
class RingBuffer(private val capacity: Int) {
    private val memory = FloatArray(capacity)
    private val lock = java.util.concurrent.locks.ReentrantLock()
    private val changed = lock.newCondition()
    private var begin = 0
    private var size = 0
    private var closed = false

    /** Samples that were lost because they were written faster than they were read. */
    var lost = 0L
        get() = lock.withLock { field }
        private set

    /** Number of gaps in the audio: the samples before and after a gap are not adjacent. */
    var gaps = 0
        get() = lock.withLock { field }
        private set

    /** Drops all samples that were not read, which is a gap. */
    fun clear() = lock.withLock {
        size = 0
        gaps++
    }

    /** Adds samples. Without room, the oldest samples are lost, which is a gap. */
    fun write(samples: FloatArray, offset: Int, count: Int) = lock.withLock {
        val skipped = maxOf(0, count - capacity)
        val new = count - skipped
        val dropped = maxOf(0, size + new - capacity)
        begin = (begin + dropped) % capacity
        size -= dropped
        lost += dropped + skipped
        if (dropped + skipped > 0) gaps++
        copy(new) { at, done, part -> samples.copyInto(memory, at, offset + skipped + done, offset + skipped + done + part) }
        size += new
        changed.signalAll()
    }

    /** Waits for enough samples and fills [target] with them; false once the buffer is closed. */
    fun read(target: FloatArray): Boolean = lock.withLock {
        require(target.size <= capacity) { "${target.size} samples do not fit into $capacity" }
        while (size < target.size && !closed) changed.await()
        if (closed) return false
        val first = min(target.size, capacity - begin)
        memory.copyInto(target, 0, begin, begin + first)
        memory.copyInto(target, first, 0, target.size - first)
        begin = (begin + target.size) % capacity
        size -= target.size
        true
    }

    /** Ends the buffer, and the wait of a reader. */
    fun close() = lock.withLock {
        closed = true
        changed.signalAll()
    }

    private inline fun copy(count: Int, part: (at: Int, done: Int, part: Int) -> Unit) {
        val end = (begin + size) % capacity
        val first = min(count, capacity - end)
        part(end, 0, first)
        part(0, first, count - first)
    }
}
