package org.edgeasc.demo

import android.content.Context
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.RectF
import android.util.TypedValue
import android.view.View
import kotlin.math.max
import kotlin.math.min

/** A colour for each class. */
fun colourOf(index: Int, count: Int): Int = Color.HSVToColor(floatArrayOf(360f * index / max(1, count), 0.6f, 0.8f))

/** A translucent colour, on which text keeps its contrast. */
fun faint(colour: Int, alpha: Int = 40): Int = Color.argb(alpha, Color.red(colour), Color.green(colour), Color.blue(colour))

/** A view that draws itself. */
abstract class Drawn(context: Context) : View(context) {
    protected val paint = Paint(Paint.ANTI_ALIAS_FLAG)
    protected val box = RectF()

    /** The theme's text colour. */
    protected val ink: Int = TypedValue().let { value ->
        context.theme.resolveAttribute(android.R.attr.textColorPrimary, value, true)
        if (value.resourceId != 0) context.getColor(value.resourceId) else value.data
    }

    protected fun dp(value: Float): Float =
        TypedValue.applyDimension(TypedValue.COMPLEX_UNIT_DIP, value, resources.displayMetrics)

    protected fun sp(value: Float): Float =
        TypedValue.applyDimension(TypedValue.COMPLEX_UNIT_SP, value, resources.displayMetrics)
}

/** A bar for the probability of each class. */
class BarsView(context: Context) : Drawn(context) {
    private var labels = emptyList<String>()
    private var values = emptyList<Double>()

    init {
        paint.textSize = sp(14f)
    }

    /** Shows probabilities. */
    fun show(labels: List<String>, values: List<Double>) {
        if (labels.size != this.labels.size) requestLayout()
        this.labels = labels
        this.values = values
        contentDescription = labels.indices.sortedByDescending { values[it] }.take(SPOKEN)
            .joinToString { resources.getString(R.string.bar, labels[it], (100 * values[it]).toInt()) }
        invalidate()
    }

    override fun onMeasure(widthMeasureSpec: Int, heightMeasureSpec: Int) {
        val height = max(1, labels.size) * rowHeight()
        setMeasuredDimension(getDefaultSize(suggestedMinimumWidth, widthMeasureSpec), resolveSize(height.toInt(), heightMeasureSpec))
    }

    private fun rowHeight() = sp(14f) * 2

    override fun onDraw(canvas: Canvas) {
        val row = min(rowHeight(), height.toFloat() / max(1, labels.size))
        for (i in labels.indices) {
            val top = i * row
            paint.color = faint(colourOf(i, labels.size))
            box.set(0f, top + dp(1f), width.toFloat(), top + row - dp(1f))
            canvas.drawRoundRect(box, dp(4f), dp(4f), paint)
            paint.color = faint(colourOf(i, labels.size), 100)
            box.right = width * values[i].toFloat()
            canvas.drawRoundRect(box, dp(4f), dp(4f), paint)
            paint.color = ink
            val line = top + row / 2 - (paint.ascent() + paint.descent()) / 2
            canvas.drawText(labels[i], dp(8f), line, paint)
            val text = resources.getString(R.string.percent, (100 * values[i]).toInt())
            canvas.drawText(text, width - dp(8f) - paint.measureText(text), line, paint)
        }
    }

    private companion object {
        const val SPOKEN = 3
    }
}

/** A strip with the scene of each decision in the last minute, the newest at the right. */
class HistoryView(context: Context) : Drawn(context) {
    private var history = emptyList<Int>()
    private var capacity = 1
    private var classes = 1

    /** Shows the classes of decisions, the newest last. */
    fun show(history: List<Int>, capacity: Int, classes: Int) {
        this.history = history
        this.capacity = capacity
        this.classes = classes
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        canvas.drawColor(faint(ink))
        val step = width.toFloat() / capacity
        for ((i, index) in history.withIndex()) {
            paint.color = colourOf(index, classes)
            val left = width - (history.size - i) * step
            // Half a pixel wider, so that no gaps appear.
            canvas.drawRect(left, 0f, left + step + 0.5f, height.toFloat(), paint)
        }
    }
}

/** The level of the microphone, from silence to full scale. */
class LevelView(context: Context) : Drawn(context) {
    private var level = QUIETEST

    /** Shows a level, dB below full scale. */
    fun show(level: Float) {
        this.level = level
        contentDescription = resources.getString(R.string.level, level.toInt())
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        canvas.drawColor(faint(ink))
        paint.color = if (level > LOUD) Color.rgb(200, 60, 40) else ink
        val share = ((level - QUIETEST) / -QUIETEST).coerceIn(0f, 1f)
        canvas.drawRect(0f, 0f, width * share, height.toFloat(), paint)
    }

    private companion object {
        const val QUIETEST = -80f
        const val LOUD = -3f
    }
}
