// Streams a WAV file (mono, 16 bits, 16 kHz) through an artefact of `edge-asc export --input samples`, in ONNX Runtime.
// java -cp onnxruntime.jar examples/Stream.java MODEL-step.onnx FILE.wav   (com.microsoft.onnxruntime:onnxruntime, JDK 17)

import ai.onnxruntime.*;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.regex.Pattern;

class Stream {
    static final int STEP = 4096;

    public static void main(String[] arguments) throws Exception {
        var environment = OrtEnvironment.getEnvironment();
        var session = environment.createSession(arguments[0]);
        String contract = session.getMetadata().getCustomMetadata().get("edge_asc_contract");
        String[] labels = find(contract, "\"labels\":\\[\"(.*?)\"\\]").split("\",\"");
        double temperature = Double.parseDouble(find(contract, "\"temperature\":([^,}]*)"));
        Map<String, OnnxTensor> inputs = new HashMap<>();
        for (NodeInfo node : session.getInputInfo().values()) { // a state begins with zeros, or with its zero point
            var info = (TensorInfo) node.getInfo();
            byte[] zeros = new byte[(int) Arrays.stream(info.getShape()).reduce(info.type.size, (a, b) -> a * b)];
            String zero = find(contract, "\\{\"name\":\"" + node.getName() + "\"[^{}]*\\{[^}]*\"zero_point\":(-?\\d+)");
            Arrays.fill(zeros, (byte) (zero == null ? 0 : Integer.parseInt(zero)));
            var memory = ByteBuffer.allocateDirect(zeros.length).order(ByteOrder.nativeOrder()).put(zeros).rewind();
            inputs.put(node.getName(), OnnxTensor.createTensor(environment, memory, info.getShape(), info.type));
        }
        byte[] wav = Files.readAllBytes(Path.of(arguments[1]));
        int begin = new String(wav, "ISO-8859-1").indexOf("data") + 8;
        var pcm = ByteBuffer.wrap(wav, begin, wav.length - begin).order(ByteOrder.LITTLE_ENDIAN).asShortBuffer();
        double[] total = new double[labels.length];
        for (int step = 1; pcm.remaining() >= STEP; step++) {
            float[] samples = new float[STEP];
            for (int i = 0; i < STEP; i++) samples[i] = pcm.get() / 32768f;
            inputs.put("samples", OnnxTensor.createTensor(environment, FloatBuffer.wrap(samples), new long[] {1, STEP}));
            for (var output : session.run(inputs)) { // each state goes to the input of its name without "_next"
                var tensor = (OnnxTensor) output.getValue();
                if (output.getKey().endsWith("_next")) inputs.put(output.getKey().replaceFirst("_next$", ""), tensor).close();
                else for (int c = 0; c < total.length; c++) total[c] += tensor.getFloatBuffer().get(c);
            }
            int n = step, best = 0;
            for (int c = 0; c < total.length; c++) if (total[c] > total[best]) best = c;
            double highest = total[best], sum = Arrays.stream(total).map(t -> Math.exp((t - highest) / n / temperature)).sum();
            System.out.printf("%.3f %s %.6f%n", step * STEP / 16000.0, labels[best], 1 / sum);
        }
    }

    static String find(String text, String pattern) {
        var match = Pattern.compile(pattern).matcher(text);
        return match.find() ? match.group(1) : null;
    }
}
