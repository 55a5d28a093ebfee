// Streams a WAV file (mono, 16 bits, 16 kHz) through an artefact of `edge-asc export --input samples`, in ONNX Runtime.
// cc examples/stream.c -Iinclude -Llib -lonnxruntime -lm && LD_LIBRARY_PATH=lib ./a.out MODEL-step.onnx FILE.wav
#include <math.h>
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define TRY(call) if ((status = ort->call) != NULL) return fprintf(stderr, "%s\n", ort->GetErrorMessage(status)), 1
enum { STEP = 4096, MOST = 64 };

int main(int argc, char **argv) {
  FILE *wav = argc == 3 ? fopen(argv[2], "rb") : NULL;
  if (wav == NULL) return fprintf(stderr, "usage: stream MODEL-step.onnx FILE.wav\n"), 2;
  const OrtApi *ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  OrtStatus *status; OrtEnv *env; OrtSessionOptions *options; OrtSession *session; OrtAllocator *memory;
  TRY(CreateEnv(ORT_LOGGING_LEVEL_ERROR, "stream", &env)); TRY(CreateSessionOptions(&options));
  TRY(CreateSession(env, argv[1], options, &session)); TRY(GetAllocatorWithDefaultOptions(&memory));
  OrtModelMetadata *metadata; char *contract, *in[MOST], *out[MOST], text[512];
  TRY(SessionGetModelMetadata(session, &metadata));
  TRY(ModelMetadataLookupCustomMetadataMap(metadata, memory, "edge_asc_contract", &contract));
  size_t tensors, count, classes = 0; float *samples = NULL, *logits; OrtValue *values[MOST], *results[MOST] = {0};
  TRY(SessionGetInputCount(session, &tensors));  // samples and states; as many outputs, logits and states
  for (size_t i = 0; i < tensors; ++i) {
    OrtTypeInfo *type; const OrtTensorTypeAndShapeInfo *info; ONNXTensorElementDataType kind; int64_t axes[8]; void *data;
    TRY(SessionGetInputName(session, i, memory, &in[i])); TRY(SessionGetOutputName(session, i, memory, &out[i]));
    TRY(SessionGetInputTypeInfo(session, i, &type)); TRY(CastTypeInfoToTensorInfo(type, &info));
    TRY(GetTensorElementType(info, &kind)); TRY(GetDimensionsCount(info, &count));
    TRY(GetDimensions(info, axes, count));
    TRY(CreateTensorAsOrtValue(memory, axes, count, kind, &values[i])); TRY(GetTensorMutableData(values[i], &data));
    TRY(GetTensorShapeElementCount(info, &count));
    snprintf(text, sizeof text, "{\"name\":\"%s\"", in[i]);  // a state begins with zeros, or its zero point
    char *spec = strstr(contract, text), *zero = strstr(spec, "\"zero_point\":"), *end = strstr(spec, "\"feeds\":");
    if (kind == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) count *= sizeof(float);
    memset(data, zero != NULL && zero < end ? atoi(zero + 13) : 0, count);
    if (strcmp(in[i], "samples") == 0) samples = data;
  }
  double total[MOST] = {0}, temperature = atof(strstr(contract, "\"temperature\":") + 14);
  char *labels[MOST], *next = strstr(contract, "\"labels\":[\"") + 11;
  for (*strstr(next, "\"]") = '\0'; next != NULL && classes < MOST; ++classes)
    if ((next = strstr(labels[classes] = next, "\",\"")) != NULL) *next = '\0', next += 3;
  for (unsigned tag = 0; tag != 0x61746164 && !feof(wav);) tag = tag >> 8 | (unsigned)getc(wav) << 24;  // "data"
  int16_t pcm[STEP]; fseek(wav, 4, SEEK_CUR);
  for (int step = 1; fread(pcm, sizeof pcm[0], STEP, wav) == STEP; ++step) {
    for (int i = 0; i < STEP; ++i) samples[i] = pcm[i] / 32768.0f;
    const char **from = (const char **)in, **to = (const char **)out; size_t best = 0; double sum = 0;
    TRY(Run(session, NULL, from, (const OrtValue **)values, tensors, to, tensors, results));
    for (size_t o = 0; o < tensors; results[o++] = NULL) {
      for (size_t i = 0; i < tensors; ++i) {  // each state goes to the input of its name without "_next"
        snprintf(text, sizeof text, "%s_next", in[i]);
        if (strcmp(text, out[o]) == 0) ort->ReleaseValue(values[i]), values[i] = results[o];
      }
      if (strcmp(out[o], "logits") != 0) continue;
      TRY(GetTensorMutableData(results[o], (void **)&logits));
      for (size_t c = 0; c < classes; ++c) if ((total[c] += logits[c]) > total[best]) best = c;
      ort->ReleaseValue(results[o]);
    }
    for (size_t c = 0; c < classes; ++c) sum += exp((total[c] - total[best]) / step / temperature);
    printf("%.3f %s %.6f\n", step * STEP / 16000.0, labels[best], 1 / sum);
  }
}
