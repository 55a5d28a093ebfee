package org.edgeasc.demo

import android.content.Context
import android.widget.LinearLayout
import android.widget.TextView
import java.text.DateFormat
import java.util.Date
import kotlin.math.max
import org.edgeasc.core.SoundEvent

/**
 * A list of sound events, each with its label, start, duration and highest probability.
 *
 * Every event is a text: it follows the size that the user has set, and a screen reader speaks it when the user touches it. It does
 * not interrupt, unlike the scene.
 */
class EventsView(context: Context) : LinearLayout(context) {
    private val clock = DateFormat.getTimeInstance(DateFormat.MEDIUM)
    private val title = TextView(context)
    private val rows = mutableListOf<TextView>()
    private val space = (4 * resources.displayMetrics.density).toInt()

    init {
        orientation = VERTICAL
        addView(title)
        show(emptyList(), 0.0, emptyList())
    }

    /** Shows events of [labels], the newest first; those without an end have lasted until [time] of the stream, s. */
    fun show(events: List<SoundEvent>, time: Double, labels: List<String>) {
        title.change(resources.getString(if (events.isEmpty()) R.string.no_events else R.string.events))
        while (rows.size < events.size) addRow()
        for ((i, row) in rows.withIndex()) {
            val event = events.getOrNull(i)
            row.visibility = if (event == null) GONE else VISIBLE
            if (event != null) row.show(event, time, colourOf(labels.indexOf(event.label), labels.size))
        }
    }

    private fun addRow() {
        val row = TextView(context).apply {
            textSize = 16f
            setPadding(2 * space, space, 2 * space, space)
        }
        rows += row
        addView(row, LayoutParams(LayoutParams.MATCH_PARENT, LayoutParams.WRAP_CONTENT).apply { topMargin = space / 2 })
    }

    private fun TextView.show(event: SoundEvent, time: Double, colour: Int) {
        val start = event.began?.let { clock.format(Date(it)) } ?: "–"
        // Whole seconds, so that the text of an event that lasts does not change with each decision.
        val seconds = max(1, Math.round(event.duration ?: (time - event.start))).toInt()
        val peak = (100 * event.peak).toInt()
        val lasts = event.end == null
        change(resources.getString(if (lasts) R.string.lasting_event else R.string.event, event.label, start, seconds, peak))
        val spoken = if (lasts) R.string.lasting_event_spoken else R.string.event_spoken
        val description = resources.getString(spoken, event.label, start, seconds, peak)
        if (contentDescription != description) contentDescription = description
        setBackgroundColor(faint(colour, if (lasts) 100 else 40))
    }

    private fun TextView.change(content: String) {
        if (text.toString() != content) text = content
    }
}
