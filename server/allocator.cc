// The program is linked to jemalloc, which gives back what a burst of requests took; the C library's allocator keeps most
// of it. Read by jemalloc when the program starts; the environment's MALLOC_CONF comes after it.
extern "C" {
extern const char* malloc_conf;
// Free pages go back to the system within a second, by a thread of its own: no request waits for it.
const char* malloc_conf = "background_thread:true,max_background_threads:1,dirty_decay_ms:1000,muzzy_decay_ms:0";
}
