package org.edgeasc.core

import kotlin.concurrent.withLock
import kotlin.math.min

/** Samples on their way from the thread that records to the one that decides; [capacity] of them at most. */
class RingBuffer(private val capacity: Int) {
    private val memory = FloatArray(capacity)
    private val lock = java.util.concurrent.locks.ReentrantLock()
    private val changed = lock.newCondition()
    private var begin = 0
    private var size = 0
    private var closed = false

    /** Samples that were lost, since they came faster than they were taken. */
    var lost = 0L
        get() = lock.withLock { field }
        private set

    /** How often audio went missing: what was read before does not join what is read after. */
    var gaps = 0
        get() = lock.withLock { field }
        private set

    /** Drops what was not read: what comes does not join it. */
    fun clear() = lock.withLock {
        size = 0
        gaps++
    }

    /** Adds samples; the oldest are lost where there is no room, which is a gap. */
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

    /** Waits until [target] can be filled, and fills it; false once the buffer is closed. */
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

    /** Lets whoever waits go. */
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
