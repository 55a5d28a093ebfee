package org.edgeasc.demo

import android.Manifest
import android.app.Activity
import android.content.Intent
import android.content.pm.PackageManager
import android.net.Uri
import android.os.Bundle
import android.os.SystemClock
import android.provider.Settings
import android.view.Gravity
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.Spinner
import android.widget.Switch
import android.widget.TextView

/** Shows the scene and the sound events at the microphone. */
class MainActivity : Activity() {
    private lateinit var artefacts: Artefacts
    private lateinit var listener: Listener
    private lateinit var models: Spinner
    private lateinit var litert: Switch
    private lateinit var scene: TextView
    private lateinit var message: TextView
    private lateinit var allow: Button
    private lateinit var bars: BarsView
    private lateinit var history: HistoryView
    private lateinit var events: EventsView
    private lateinit var level: LevelView
    private lateinit var cost: TextView
    private var asked = false
    private var askedAt = 0L
    private var started = false

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        if (intent.getBooleanExtra(BenchActivity.BENCH, false)) {
            startActivity(Intent(this, BenchActivity::class.java).putExtras(intent))
            finish()
        }
        artefacts = Artefacts(assets)
        @Suppress("DEPRECATION")
        listener = lastNonConfigurationInstance as Listener? ?: Listener()
        asked = savedInstanceState?.getBoolean(ASKED) ?: false
        setContentView(content())
        savedInstanceState?.let {
            models.setSelection(it.getInt(MODEL))
            litert.isChecked = it.getBoolean(LITERT)
        }
        listener.onSnapshot = ::show
        listener.onProblem = { problem -> report(problem?.let { getString(it.text) }) }
        listener.onFailure = ::report
        listener.last?.let(::show)
        report(listener.failure ?: listener.problem?.let { getString(it.text) })
    }

    // This keeps the listener over a rotation. Only old releases of Android mark it as deprecated.
    @Suppress("OVERRIDE_DEPRECATION")
    override fun onRetainNonConfigurationInstance(): Any = listener

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putBoolean(ASKED, asked)
        outState.putInt(MODEL, models.selectedItemPosition)
        outState.putBoolean(LITERT, litert.isChecked)
    }

    override fun onStart() {
        super.onStart()
        if (isFinishing) return
        started = true
        listen()
    }

    override fun onStop() {
        super.onStop()
        started = false
        if (!isChangingConfigurations) listener.stop()
    }

    override fun onDestroy() {
        super.onDestroy()
        listener.onSnapshot = {}
        listener.onProblem = {}
        listener.onFailure = {}
    }

    override fun onRequestPermissionsResult(requestCode: Int, permissions: Array<out String>, grantResults: IntArray) {
        // An immediate denial means that the system shows no dialog any more, so this opens its settings.
        val unseen = SystemClock.elapsedRealtime() - askedAt < UNSEEN_MS
        val denied = grantResults.any { it != PackageManager.PERMISSION_GRANTED }
        if (denied && unseen && !shouldShowRequestPermissionRationale(Manifest.permission.RECORD_AUDIO)) {
            startActivity(
                Intent(Settings.ACTION_APPLICATION_DETAILS_SETTINGS, Uri.fromParts("package", packageName, null)),
            )
        }
        listenIfStarted()
    }

    /** Starts with the chosen model if the permission is granted. */
    private fun listen() {
        val mayListen = checkSelfPermission(Manifest.permission.RECORD_AUDIO) == PackageManager.PERMISSION_GRANTED
        allow.visibility = if (mayListen) View.GONE else View.VISIBLE
        if (!mayListen) {
            if (asked) report(getString(R.string.permission_needed)) else ask()
            return
        }
        val name = models.selectedItem as String? ?: return report(getString(R.string.no_models))
        val engine = if (litert.isChecked) Engine.LITERT else Engine.ONNX_RUNTIME
        val file = artefacts.file(name, engine)
        if (file != null && file == listener.file) return
        clear()
        if (file == null) {
            listener.stop()
            report(getString(R.string.no_such_artefact, name, getString(engine.title)))
        } else {
            report(null)
            listener.start(artefacts, file)
        }
    }

    private fun ask() {
        asked = true
        requestPermissions(arrayOf(Manifest.permission.RECORD_AUDIO), 0)
    }

    private fun show(now: Snapshot) {
        val name = now.labels[now.index]
        // A screen reader speaks each change.
        if (scene.text.toString() != name) scene.text = name
        bars.show(now.labels, now.probabilities)
        history.show(now.history, now.historyCapacity, now.labels.size)
        events.show(now.events, now.time, now.labels)
        level.show(now.levelDb)
        cost.text = getString(R.string.cost, now.frontEndMs + now.modelMs, now.frontEndMs, now.modelMs, now.stepMs) +
            if (now.lostSamples > 0) "\n" + getString(R.string.lost, now.lostSamples) else ""
    }

    /** Clears the results of the model before. */
    private fun clear() {
        scene.text = getString(R.string.nothing_yet)
        bars.show(emptyList(), emptyList())
        history.show(emptyList(), 1, 1)
        events.show(emptyList(), 0.0, emptyList())
        cost.text = ""
    }

    private fun report(text: String?) {
        // A screen reader speaks it once.
        if (text.orEmpty() == message.text.toString()) return
        message.visibility = if (text == null) View.GONE else View.VISIBLE
        message.text = text.orEmpty()
    }

    private fun content(): View {
        val space = (16 * resources.displayMetrics.density).toInt()
        val column = LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            setPadding(space, space, space, space)
        }
        models = Spinner(this).apply {
            contentDescription = getString(R.string.model)
            adapter = ArrayAdapter(context, android.R.layout.simple_spinner_dropdown_item, artefacts.names)
            onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
                override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) = listenIfStarted()

                override fun onNothingSelected(parent: AdapterView<*>?) = Unit
            }
        }
        litert = Switch(this).apply {
            text = getString(R.string.litert)
            setOnCheckedChangeListener { _, _ -> listenIfStarted() }
        }
        scene = TextView(this).apply {
            textSize = 34f
            gravity = Gravity.CENTER
            text = getString(R.string.nothing_yet)
            accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE
        }
        message = TextView(this).apply {
            textSize = 16f
            visibility = View.GONE
            accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_ASSERTIVE
        }
        allow = Button(this).apply {
            text = getString(R.string.allow)
            setOnClickListener {
                askedAt = SystemClock.elapsedRealtime()
                ask()
            }
        }
        bars = BarsView(this)
        history = HistoryView(this).apply { contentDescription = getString(R.string.history) }
        events = EventsView(this)
        level = LevelView(this)
        cost = TextView(this)
        val chooser = LinearLayout(this)
        chooser.addView(models, LinearLayout.LayoutParams(0, WRAP_CONTENT, 1f))
        chooser.addView(litert, LinearLayout.LayoutParams(WRAP_CONTENT, WRAP_CONTENT))
        val heights = listOf(
            chooser to WRAP_CONTENT,
            scene to WRAP_CONTENT,
            message to WRAP_CONTENT,
            allow to WRAP_CONTENT,
            level to space / 2,
            bars to WRAP_CONTENT,
            history to 2 * space,
            events to WRAP_CONTENT,
            cost to WRAP_CONTENT,
        )
        for ((view, height) in heights) {
            column.addView(view, LinearLayout.LayoutParams(MATCH_PARENT, height).apply { bottomMargin = space / 2 })
        }
        return ScrollView(this).apply {
            fitsSystemWindows = true
            addView(column)
        }
    }

    private fun listenIfStarted() {
        if (started) listen()
    }

    private companion object {
        const val UNSEEN_MS = 400L
        const val ASKED = "asked"
        const val MODEL = "model"
        const val LITERT = "litert"
    }
}
