/* The parts of Android's C library that ONNX Runtime's JNI library for Android needs, so that a JVM on this machine loads it.
   Each symbol has Android's version name, so no other library links to it. */
#include <stddef.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

void *malloc(size_t size) { return __libc_malloc(size); }

void *realloc(void *memory, size_t size) { return __libc_realloc(memory, size); }

void free(void *memory) { __libc_free(memory); }

void *memcpy(void *restrict target, const void *restrict source, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((char *)target)[i] = ((const char *)source)[i];
    return target;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

/* The library stays until the process ends. */
int dlclose(void *library) { (void)library; return 0; }

int __cxa_atexit(void (*function)(void *), void *argument, void *library)
{
    (void)function, (void)argument, (void)library;
    return 0;
}

void __cxa_finalize(void *library) { (void)library; }

int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *library)
{
    (void)before, (void)parent, (void)child, (void)library;
    return 0;
}

void __stack_chk_fail(void) { abort(); }
