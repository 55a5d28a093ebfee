package org.edgeasc.core

import java.io.File
import java.io.IOException
import org.json.JSONArray
import org.json.JSONObject

/** The machine that a benchmark runs on. Values that cannot be read are null. */
open class Device {
    /** Processor and system. */
    open fun machine(): JSONObject {
        val cpu = read("/proc/cpuinfo").orEmpty().lines().filter { ":" in it }.reversed()
            .associate { line -> line.substringBefore(":").trim() to line.substringAfter(":").trim() }
        val features = (cpu["flags"] ?: cpu["Features"]).orEmpty().split(" ")
        return JSONObject()
            .put("architecture", System.getProperty("os.arch"))
            .put("cpu", cpu["model name"] ?: cpu["Hardware"] ?: JSONObject.NULL)
            .put("features", JSONArray(features.filter { it in FEATURES }))
            .put("cores", Runtime.getRuntime().availableProcessors())
            .put("board", JSONObject.NULL)
            .put("memory_bytes", kilobytes("/proc/meminfo", "MemTotal") ?: JSONObject.NULL)
            .put("system", "${System.getProperty("os.name")} ${System.getProperty("os.version")}")
            .put("python", JSONObject.NULL)
            .put("governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") ?: JSONObject.NULL)
            .put("emulated", JSONObject.NULL)
            .put("packages", JSONObject())
    }

    /** Conditions that may change while a benchmark runs. */
    open fun conditions(): JSONObject {
        val frequencies = (0 until Runtime.getRuntime().availableProcessors())
            .mapNotNull { read("/sys/devices/system/cpu/cpu$it/cpufreq/scaling_cur_freq")?.toLongOrNull() }
            .map { it / 1000.0 }
        val temperatures = File("/sys/class/thermal").listFiles { file -> file.name.startsWith("thermal_zone") }.orEmpty()
            .mapNotNull { read("$it/temp")?.toLongOrNull() }
        return JSONObject()
            .put("frequency_mhz", if (frequencies.isEmpty()) JSONObject.NULL else JSONArray(frequencies))
            .put("temperature_c", temperatures.maxOrNull()?.let { it / 1000.0 } ?: JSONObject.NULL)
            .put("load", read("/proc/loadavg")?.substringBefore(" ")?.toDoubleOrNull() ?: JSONObject.NULL)
            .put("throttling", JSONObject.NULL)
    }

    /** Resident memory of this process, bytes. */
    fun resident(): Long? = kilobytes("/proc/self/status", "VmRSS")

    /** Largest resident memory since [resetPeak], bytes. */
    fun peak(): Long? = kilobytes("/proc/self/status", "VmHWM")

    /** Starts a new peak; false where the system does not allow it. */
    fun resetPeak(): Boolean = try {
        File("/proc/self/clear_refs").writeText("5")
        true
    } catch (_: IOException) {
        false
    }

    private fun kilobytes(path: String, field: String): Long? =
        read(path)?.lines()?.firstOrNull { it.startsWith("$field:") }
            ?.split(Regex("\\s+"))?.getOrNull(1)?.toLongOrNull()?.times(1024)

    private fun read(path: String): String? = try {
        File(path).readText().trim().ifEmpty { null }
    } catch (_: IOException) {
        null
    }

    private companion object {
        // Features by which runtimes choose their integer kernels.
        val FEATURES = setOf("avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimd", "asimddp", "i8mm", "sve", "bf16")
    }
}
