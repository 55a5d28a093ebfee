package org.edgeasc.core

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

internal fun JSONArray.strings(): List<String> = List(length(), ::getString)

internal fun JSONArray.objects(): List<JSONObject> = List(length(), ::getJSONObject)

internal fun JSONArray.floats(): FloatArray = FloatArray(length()) { getDouble(it).toFloat() }

/** Names of the fields. */
internal val JSONObject.names: List<String> get() = keys().asSequence().map { "$it" }.toList()

/** Accepts no other fields than [known]; messages call the object [where]. */
internal fun JSONObject.checkNames(where: String, vararg known: String) {
    val unknown = names.filter { it !in known }.sorted()
    if (unknown.isNotEmpty()) throw JSONException("$where: got unknown fields ${unknown.joinToString()}")
}

/** Returns a number, which is not a text that looks like one; [default], if there is one, where it is missing or null. */
internal fun JSONObject.number(where: String, name: String, default: Double? = null): Double {
    if (isNull(name) && default != null) return default
    val value = opt(name) as? Number ?: throw JSONException("$where.$name: got ${shown(name)}, expected a number")
    return value.toDouble()
}

/** Returns a string; [default], if there is one, where it is missing or null. */
internal fun JSONObject.text(where: String, name: String, default: String? = null): String {
    if (isNull(name) && default != null) return default
    return opt(name) as? String ?: throw JSONException("$where.$name: got ${shown(name)}, expected a string")
}

private fun JSONObject.shown(name: String): String = if (isNull(name)) "nothing" else "${opt(name)}".take(40)

/** Returns the value of [choices] whose name in lower case is [name]; messages call the field [field]. */
internal inline fun <reified T : Enum<T>> choice(
    field: String,
    name: String,
    choices: List<T> = enumValues<T>().asList(),
): T = choices.singleOrNull { it.name.lowercase() == name }
    ?: throw ContractException("contract: $field is $name; expected ${choices.joinToString { it.name.lowercase() }}; $AGAIN")
