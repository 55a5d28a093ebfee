package org.edgeasc.demo

import android.app.Activity
import android.os.Bundle
import android.view.WindowManager
import android.widget.TextView
import java.io.File
import java.io.IOException
import kotlin.concurrent.thread
import org.edgeasc.core.Bench
import org.json.JSONObject

/**
 * Measures the artefacts of a model, and writes its progress and its result to files: `adb shell am start -S -n
 * org.edgeasc.demo/.MainActivity --ez bench true --es model fuse --es id 1`. `edge-asc bench fuse --target adb:// --app` does this.
 *
 * Extras and their defaults: `model` (the first one), `rounds` (int) and `duration` (float, s; both from the plan), `id` of the
 * files ("last").
 */
class BenchActivity : Activity() {
    @Volatile
    private var destroyed = false

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        // Android slows the processor down while the screen is off. The oldest Android lacks the newer calls.
        @Suppress("DEPRECATION")
        window.addFlags(
            WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON or
                WindowManager.LayoutParams.FLAG_TURN_SCREEN_ON or
                WindowManager.LayoutParams.FLAG_SHOW_WHEN_LOCKED,
        )
        val text = TextView(this).apply {
            fitsSystemWindows = true
            textSize = 18f
        }
        setContentView(text)
        val id = intent.getStringExtra("id") ?: "last"
        if (!id.all { it.isLetterOrDigit() }) {
            text.text = getString(R.string.bad_id)
            return
        }
        // An activity that is recreated, in this process or in a later one, does not measure again.
        if (savedInstanceState != null || !started.add(id)) {
            text.text = getString(R.string.bench_started)
            return
        }
        thread(name = "bench") {
            val folder = getExternalFilesDir(null) ?: filesDir
            val show = { line: String -> runOnUiThread { if (!destroyed) text.text = line } }
            val report = { value: JSONObject -> write(File(folder, "bench-$id.progress"), value) }
            val result = File(folder, "bench-$id.json")
            result.delete()
            try {
                write(result, measure { what, done, total ->
                    report(JSONObject().put("what", what).put("done", done).put("total", total))
                    show("$what $done/$total")
                })
                show(getString(R.string.bench_done, result.path))
            } catch (error: Throwable) {
                // The host waits for the file, so any error is reported there if that is still possible.
                val message = error.message ?: error.javaClass.simpleName
                runCatching { report(JSONObject().put("error", message)) }
                show(message)
            }
        }
    }

    override fun onDestroy() {
        super.onDestroy()
        destroyed = true
    }

    private fun measure(progress: (String, Int, Int) -> Unit): JSONObject {
        val plans = assets.list(FOLDER).orEmpty().filter { it.endsWith(PLAN) }.map { it.removeSuffix(PLAN) }.sorted()
        val model = intent.getStringExtra("model") ?: plans.firstOrNull()
        if (model !in plans) throw IOException("no plan for model $model; this app has ${plans.joinToString()}")
        val read = { name: String -> assets.open("$FOLDER/$name").use { it.readBytes() } }
        val bench = Bench(JSONObject(String(read(model + PLAN))), PhoneDevice(this), read, Artefacts(assets)::open)
        val rounds = intent.getIntExtra("rounds", 0).takeIf { it > 0 }
        val duration = intent.getFloatExtra("duration", -1f).toDouble().takeIf { it >= 0 }
        return bench.run(rounds, duration) { what, done, total -> progress(what, done, total) }
    }

    /** Writes a file that appears whole or not at all. */
    private fun write(file: File, value: JSONObject) {
        val temporary = File(file.path + ".part")
        temporary.writeText(value.toString())
        if (!temporary.renameTo(file)) throw IOException("$file cannot be written")
    }

    companion object {
        /** The extra that starts a benchmark. */
        const val BENCH = "bench"
        private const val FOLDER = "bench"
        private val started = mutableSetOf<String>()
        private const val PLAN = ".json"
    }
}
