package org.edgeasc.core

import org.json.JSONException
import org.json.JSONObject

/** An artefact that cannot be used; the message states the problem, the expected value and the remedy. */
class ContractException(message: String, cause: Throwable? = null) : Exception(message, cause)

/** Quantisation parameters: value = scale · (integer − zeroPoint). */
data class Affine(val scale: Float, val zeroPoint: Int)

/** Element types, with their size in bytes. */
enum class ElementType(val bytes: Int) {
    FLOAT32(4),
    INT8(1),
    UINT8(1),
    INT16(2),
}

/** Purpose of a tensor. */
enum class Role { FEATURES, SAMPLES, STATE, EMBEDDING, LOGITS }

/** What a step takes: features of the front end; or the samples that they are of, as float in [−1, 1] or as integers of 16 bits. */
enum class InputKind { FEATURES, SAMPLES, INT16 }

/**
 * A decision is unknown where the probability of [label] is at least [threshold], which was chosen so that [falseAlarmRate] of the
 * known clips are called unknown.
 */
data class UnknownRule(val label: String, val threshold: Double, val falseAlarmRate: Double)

/** One input or output. For an output state, [feeds] names the input that takes it, unconverted, at the next step. */
data class TensorSpec(
    val name: String,
    val role: Role,
    val shape: List<Int>,
    val axes: List<String>,
    val type: ElementType,
    val quantisation: Affine?,
    val feeds: String?,
) {
    /** Number of elements. */
    val size: Int = shape.fold(1, Int::times)
}

/** One computation, of [frames] log-mel frames, which cover [samples] new audio samples. */
class Signature(
    val name: String,
    val frames: Int,
    val samples: Int,
    val inputs: List<TensorSpec>,
    val outputs: List<TensorSpec>,
) {
    /** Input states. */
    val states: List<TensorSpec> = inputs.filter { it.role == Role.STATE }

    /** The output that feeds each input state, by the name of the input. */
    val feeders: Map<String, TensorSpec> =
        outputs.filter { it.role == Role.STATE && it.feeds != null }.associateBy { it.feeds!! }

    /** The one input that is not a state: features or samples. */
    val source: TensorSpec get() = only(inputs, Role.FEATURES, Role.SAMPLES)

    /** The one output of logits. */
    val logits: TensorSpec get() = only(outputs, Role.LOGITS)

    private fun only(specs: List<TensorSpec>, vararg roles: Role): TensorSpec =
        specs.singleOrNull { it.role in roles } ?: throw ContractException(
            "signature $name: expected one tensor of role ${roles.joinToString(" or ") { it.name.lowercase() }}; $AGAIN",
        )

    /** Refuses states that cannot be fed back unconverted, and logits that do not match the labels. */
    internal fun check(labels: List<String>, frontEnd: FrontEnd) {
        if (states.map { it.name }.toSet() != feeders.keys) {
            throw ContractException(
                "signature $name: states ${states.map { it.name }} are fed by outputs for ${feeders.keys}; $AGAIN",
            )
        }
        for (state in states) {
            val source = feeders.getValue(state.name)
            if (listOf(state.shape, state.type, state.quantisation) != listOf(source.shape, source.type, source.quantisation)) {
                throw ContractException("signature $name: state ${state.name} differs from the output that feeds it; $AGAIN")
            }
        }
        for (spec in outputs.filter { it.role == Role.LOGITS }) {
            if (spec.size != labels.size) {
                throw ContractException("signature $name: ${spec.size} logits for ${labels.size} labels; $AGAIN")
            }
        }
        if (frames > 0 && samples != frames * frontEnd.hop) {
            throw ContractException(
                "signature $name: $frames frames stand for $samples samples; expected ${frames * frontEnd.hop} at a hop " +
                    "of ${frontEnd.hop}; $AGAIN",
            )
        }
    }
}

/** Parameters of the front end, which turns samples into features. */
class FrontEnd(
    val sampleRate: Int,
    val window: Int,
    val hop: Int,
    val mels: Int,
    val low: Double,
    val high: Double,
    val floor: Float,
    val mean: FloatArray,
    val scale: FloatArray,
    val clip: Float,
) {
    init {
        fun refuse(actual: String, expected: String): Nothing =
            throw ContractException("front end: $actual; expected $expected; $AGAIN")
        if (sampleRate <= 0) refuse("sample rate is $sampleRate", "more than 0")
        if (window < 4 || window and (window - 1) != 0) refuse("window is $window", "a power of two")
        if (hop !in 1..window) refuse("hop is $hop", "1 to the window, $window")
        if (mels <= 0) refuse("mels is $mels", "more than 0")
        if (!(0 <= low && low < high && high <= sampleRate / 2.0)) {
            refuse("mel filters reach from $low to $high Hz", "a band up to ${sampleRate / 2.0} Hz")
        }
        if (mean.size != scale.size || mean.size !in listOf(0, mels)) {
            refuse("mean has ${mean.size} and scale ${scale.size} values", "$mels each, or none")
        }
        if (!(mean + scale).all(Float::isFinite)) refuse("mean or scale holds NaN or infinite values", "finite ones")
    }

    /** The same without normalisation and clipping: plain log-mel. */
    val raw: FrontEnd
        get() = FrontEnd(sampleRate, window, hop, mels, low, high, floor, FloatArray(0), FloatArray(0), clip)

    internal companion object {
        fun of(value: JSONObject): FrontEnd {
            for ((key, expected) in listOf("mel_scale" to "slaney", "mel_norm" to "slaney", "log" to "ln")) {
                val actual = value.getString(key)
                if (actual != expected) throw ContractException("front end: $key is $actual; expected $expected; $AGAIN")
            }
            return FrontEnd(
                sampleRate = value.getInt("sample_rate"),
                window = value.getInt("window"),
                hop = value.getInt("hop"),
                mels = value.getInt("mels"),
                low = value.getDouble("low"),
                high = value.getDouble("high"),
                floor = value.getDouble("floor").toFloat(),
                mean = value.getJSONArray("mean").floats(),
                scale = value.getJSONArray("scale").floats(),
                clip = value.getDouble("clip").toFloat(),
            )
        }
    }
}

/** The stream contract inside every artefact: the information that a stream needs. */
class Contract private constructor(
    val name: String,
    val backbone: String,
    val scheme: String,
    val labels: List<String>,
    val frontEnd: FrontEnd,
    /** The rule for one clip from a reset. */
    val decision: DecisionRule,
    /** The rule for streams without an end. */
    val live: DecisionRule,
    /** Divisor of the logits before the softmax. */
    val temperature: Double,
    /** When a decision is unknown; null for a model without a label for unknown sounds. */
    val unknown: UnknownRule?,
    /** When a label's probability is an event; null where it was not calibrated. */
    val events: EventRules?,
    /** What a step takes. With samples, the front end is a part of the artefact. */
    val input: InputKind,
    val step: Signature,
) {
    /** Audio of one step, s. */
    val stepSeconds: Double = step.samples.toDouble() / frontEnd.sampleRate

    companion object {
        /** The newest version of contracts that this app reads. */
        const val SCHEMA_VERSION = 3

        /** The oldest version, which lacks `live`, `events` and `input`. */
        const val OLDEST_VERSION = 1

        /** Name of the ONNX metadata property and of the TFLite metadata buffer that hold the contract. */
        const val METADATA_KEY = "edge_asc_contract"

        /**
         * Reads a contract.
         *
         * @throws ContractException not a contract, of another version, malformed, or of a model without steps.
         */
        fun parse(text: String): Contract =
            try {
                read(JSONObject(text))
            } catch (error: JSONException) {
                throw ContractException("contract: malformed (${error.message}); $AGAIN", error)
            }

        private fun read(value: JSONObject): Contract {
            val version = value.opt("schema_version")
                ?: throw ContractException("contract: no schema_version; this is not an edge-asc stream contract")
            if (version !is Int || version !in OLDEST_VERSION..SCHEMA_VERSION) {
                val advice = if (version is Int && version > SCHEMA_VERSION) "update this app" else AGAIN
                throw ContractException(
                    "contract: schema version $version; this app reads $OLDEST_VERSION to $SCHEMA_VERSION: $advice",
                )
            }
            val name = value.getString("name")
            val form = value.getString("form")
            if (form != "causal") {
                throw ContractException("$name: a $form model has no steps; expected a causal one")
            }
            val labels = value.getJSONArray("labels").strings()
            if (labels.size < 2 || labels.toSet().size != labels.size) {
                throw ContractException("contract: labels are $labels; expected 2 or more distinct names; $AGAIN")
            }
            val frontEnd = FrontEnd.of(value.getJSONObject("front_end"))
            val signatures = value.getJSONArray("signatures").objects().map(::signature)
            val step = signatures.singleOrNull { it.name == "step" }
                ?: throw ContractException("$name: no signature step among ${signatures.map { it.name }}; $AGAIN")
            step.check(labels, frontEnd)
            val input = if (value.isNull("input")) InputKind.FEATURES else choice<InputKind>("input", value.getString("input"))
            if (input == InputKind.FEATURES) checkFeatures(step, frontEnd) else checkSamples(step, input)
            if (step.logits.type != ElementType.FLOAT32) {
                throw ContractException("signature ${step.name}: logits are ${step.logits.type}; expected float32; $AGAIN")
            }
            return Contract(
                name,
                value.getString("backbone"),
                value.getString("scheme"),
                labels,
                frontEnd,
                DecisionRule(choice("decision", value.getString("decision"), RuleName.entries.filter { it.isForClips })),
                if (value.isNull("live")) DecisionRule.DEFAULT_LIVE else DecisionRule.of(value.getJSONObject("live")),
                temperature(value),
                unknown(value, labels),
                events(value, labels),
                input,
                step,
            )
        }

        private fun temperature(value: JSONObject): Double {
            val temperature = if (value.isNull("temperature")) 1.0 else value.getDouble("temperature")
            if (!(temperature > 0 && temperature.isFinite())) {
                throw ContractException("contract: temperature is $temperature; expected a finite number above 0; $AGAIN")
            }
            return temperature
        }

        private fun unknown(value: JSONObject, labels: List<String>): UnknownRule? {
            if (value.isNull("unknown")) return null
            val rule = value.getJSONObject("unknown").run {
                UnknownRule(getString("label"), getDouble("threshold"), getDouble("false_alarm_rate"))
            }
            if (rule.label !in labels) {
                throw ContractException("contract: unknown sounds have the label ${rule.label}; expected one of $labels; $AGAIN")
            }
            if (!(rule.threshold > 0 && rule.threshold <= 1)) {
                throw ContractException("contract: threshold of unknown is ${rule.threshold}; expected above 0, at most 1; $AGAIN")
            }
            return rule
        }

        private fun events(value: JSONObject, labels: List<String>): EventRules? {
            if (value.isNull("events")) return null
            val rules = EventRules.of(value.getJSONObject("events"))
            val strange = (rules.labels - labels).sorted()
            if (strange.isNotEmpty()) {
                throw ContractException(
                    "contract: events have rules for ${strange.joinToString()}; expected some of ${labels.joinToString()}; $AGAIN",
                )
            }
            return rules
        }

        /** Refuses features whose order in memory is not that of consecutive frames. */
        private fun checkFeatures(step: Signature, frontEnd: FrontEnd) {
            val spec = step.source
            val kept = spec.axes.zip(spec.shape).filter { it.second != 1 || it.first == "time" || it.first == "mel" }
            val expected = listOf("time" to step.frames, "mel" to frontEnd.mels)
            if (spec.role != Role.FEATURES || kept != expected || spec.type != ElementType.FLOAT32) {
                throw ContractException(
                    "signature ${step.name}: ${spec.name} are ${spec.type} of ${spec.axes} ${spec.shape}; expected float32 of " +
                        "${step.frames} frames of ${frontEnd.mels} mel bins; $AGAIN",
                )
            }
        }

        /** Refuses samples of another number or type. */
        private fun checkSamples(step: Signature, input: InputKind) {
            val spec = step.source
            val type = if (input == InputKind.INT16) ElementType.INT16 else ElementType.FLOAT32
            val qparams = if (input == InputKind.INT16) Affine(1f / 32768, 0) else null
            val isShaped = spec.size == step.samples && spec.axes.zip(spec.shape).contains("time" to step.samples)
            if (spec.role != Role.SAMPLES || !isShaped || spec.type != type || spec.quantisation != qparams) {
                throw ContractException(
                    "signature ${step.name}: ${spec.name} are ${spec.type} of ${spec.axes} ${spec.shape}; expected " +
                        "${step.samples} samples, $type; $AGAIN",
                )
            }
        }

        private fun signature(value: JSONObject) = Signature(
            value.getString("name"),
            value.getInt("frames"),
            value.getInt("samples"),
            value.getJSONArray("inputs").objects().map(::tensor),
            value.getJSONArray("outputs").objects().map(::tensor),
        )

        private fun tensor(value: JSONObject): TensorSpec {
            val qparams = value.optJSONObject("quantisation")
            return TensorSpec(
                name = value.getString("name"),
                role = choice("role", value.getString("role")),
                shape = value.getJSONArray("shape").run { List(length(), ::getInt) },
                axes = value.getJSONArray("axes").strings(),
                type = choice("dtype", value.getString("dtype")),
                quantisation = qparams?.let { Affine(it.getDouble("scale").toFloat(), it.getInt("zero_point")) },
                feeds = if (value.isNull("feeds")) null else value.getString("feeds"),
            )
        }
    }
}

internal const val AGAIN = "export the artefact again"
