/* The simulation harness seen from C: step the device, reach its registers, memory, interrupts and logs.
 *
 * One simulation is open per process at a time under a simulator (cocotb); the plain library may open
 * several. Time is in cycles since reset was released. All calls come from one thread.
 */
#ifndef SVM_SIM_H
#define SVM_SIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SVM_ABI 1

/* Events: why svm_run() returned, or why the attention signal changed. */
enum {
    SVM_EV_IRQ = 1,   /* an interrupt arrived: svm_take_irqs() */
    SVM_EV_READ = 2,  /* a register read is complete: svm_read_poll() */
    SVM_EV_ALARM = 4, /* the alarm cycle is reached (svm_set_alarm) */
    SVM_EV_LOG = 8,   /* a log holds log_watermark entries */
    SVM_EV_ERROR = 16, /* a protocol error was found: svm_errors() */
    SVM_EV_LIMIT = 32  /* svm_run() used up its cycles */
};

/* Latencies are in cycles, drawn uniformly from [min, max]. Probabilities are 0 to 1 per cycle. */
typedef struct svm_config {
    uint32_t abi;                         /* SVM_ABI */
    uint32_t reset_cycles;                /* length of the reset; time 0 is its end */
    uint64_t seed;
    uint64_t mem_base;                    /* bus address of the first byte */
    uint64_t mem_bytes;                   /* a multiple of 4096 */
    void *mem;                            /* memory handed in; NULL: allocated, or mapped from mem_file */
    const char *mem_file;                 /* file mapped shared, made if needed; NULL: none */
    const char *wave_file;                /* VCD; NULL: none (needs a trace build) */
    uint32_t read_min, read_max;          /* memory read: address to first data */
    uint32_t write_min, write_max;        /* memory write: last data to response */
    uint32_t ring_min, ring_max;          /* the same for the ring port, both directions */
    uint32_t link_min, link_max;          /* register access, one way */
    uint32_t msi_min, msi_max;            /* interrupt line to the host */
    uint32_t max_reads, max_writes;       /* accesses the memory holds per port */
    uint32_t stall_max;                   /* length of one back-pressure stall: 1 to stall_max cycles */
    uint32_t in_order;                    /* 1: responses leave in order of acceptance */
    uint32_t log_watermark;               /* entries that raise SVM_EV_LOG; 0: never */
    uint32_t rand_reset;                  /* 1: registers start with seeded random values (Verilator) */
    double p_stall;                       /* a ready goes low */
    double p_bubble;                      /* a gap before a response or a read beat */
    double p_interleave;                  /* read data changes to another ID inside a burst */
    double p_slow;                        /* an access takes slow_factor times its latency */
    double p_early_write;                 /* a write reaches memory at its last data, not at its response */
    uint32_t slow_factor;
    uint32_t monitor;                     /* 1: log accesses and records and check protocols */
} svm_config;

/* One access on the virtual-address side, logged at its response. */
typedef struct svm_access {
    uint64_t t_accept; /* address handshake at the MMU's slave port */
    uint64_t t_issue;  /* address handshake on the bus; 0 when not issued */
    uint64_t t_mem;    /* memory was read or written as one step; 0: never */
    uint64_t t_resp;   /* last response handshake at the MMU's slave port */
    uint64_t va;
    uint64_t bus;      /* bus address; 0 when not issued */
    uint64_t fold;     /* XOR over the bytes moved of byte << 8*(address mod 8) */
    uint32_t user;     /* AxUSER: PASID in 19:0, requester above */
    uint32_t nbytes;   /* bytes from va that the burst covers */
    uint32_t moved;    /* bytes moved: strobed bytes of a write */
    uint32_t seq;      /* order of acceptance, both directions together */
    uint16_t id;
    uint8_t write;
    uint8_t resp;      /* worst response of the access, as on the wire */
    uint8_t lock;
    uint8_t issued;    /* 1: it went to the bus */
    uint8_t pad[2];
} svm_access;

/* One 32-byte record moved on the ring port. */
typedef struct svm_record {
    uint64_t cycle; /* read: data handshake; write: the record is in memory */
    uint64_t addr;
    uint64_t data[4];
    uint32_t write;
    uint32_t resp;
} svm_record;

typedef struct svm_stats {
    uint64_t cycle;
    uint64_t errors;
    uint64_t reads, writes;          /* accesses accepted at the virtual-address side */
    uint64_t read_bytes, write_bytes; /* moved in memory for the data port */
    uint64_t outstanding;            /* accesses without their response */
    uint64_t oldest_age;             /* cycles since the oldest of them was accepted; 0: none */
    uint64_t bus_reordered;          /* data-port responses that passed an older access of another ID */
    uint64_t irqs;
    uint64_t attention;              /* times Python was asked to look */
} svm_stats;

/* What waits at the boundary of a held device (svm_hold). */
enum {
    SVM_HELD_REG = 1,        /* the oldest register access that has not landed */
    SVM_HELD_RING_READ = 2,  /* the next record of a ring read */
    SVM_HELD_RING_WRITE = 3, /* a record on its way to memory */
    SVM_HELD_READ = 4,       /* an access at the data port, before memory is read */
    SVM_HELD_WRITE = 5,      /* the same, before memory is written */
    SVM_HELD_IRQ = 6         /* an interrupt on its way */
};

typedef struct svm_held {
    uint32_t kind;
    uint32_t id;      /* AXI ID; register offset; interrupt vector */
    uint64_t addr;    /* bus address of the record or of the access */
    uint64_t va;      /* data port: virtual address */
    uint32_t user;    /* data port: AxUSER */
    uint32_t seq;     /* data port: as in svm_access; ring port: order of acceptance */
    uint32_t nbytes;  /* data port: bytes that the burst covers */
    uint16_t write;   /* register access: 1 for a write */
    uint16_t ready;   /* 1: may be released; 0: AXI order holds it behind another of the list */
    uint64_t data[4]; /* a record on its way to memory; data[0]: value of a register write */
} svm_held;

typedef struct svm_sim svm_sim;

/* A default configuration (moderate latencies, no stalls). */
void svm_defaults(svm_config *cfg);
/* Opens a simulation. NULL on error; svm_open_error() says why. */
svm_sim *svm_open(const svm_config *cfg);
const char *svm_open_error(void);
void svm_close(svm_sim *s);

/* Posts a write to a 32-bit register; it lands later, in order. */
void svm_reg_write(svm_sim *s, uint32_t offset, uint32_t value);
/* Starts a register read, ordered after earlier writes; returns a token. */
uint64_t svm_read_start(svm_sim *s, uint32_t offset);
/* 1 and the value when the read is complete (the token is then spent), else 0. */
int svm_read_poll(svm_sim *s, uint64_t token, uint32_t *value);

/* Runs until an event or for n cycles; returns the events (also those of svm_take_events).
 * Only where this library owns time; under a simulator it returns 0 at once. */
uint32_t svm_run(svm_sim *s, uint64_t n);
/* 1 where svm_run() works. */
int svm_owns_time(svm_sim *s);
/* Raises SVM_EV_ALARM at `cycle`; ~0 disarms. A cycle in the past raises it at the next cycle. */
void svm_set_alarm(svm_sim *s, uint64_t cycle);
uint32_t svm_take_events(svm_sim *s);
/* Interrupt vectors that arrived since the last call, as a mask. */
uint32_t svm_take_irqs(svm_sim *s);
uint64_t svm_cycle(svm_sim *s);

/* 1: from now on whatever crosses the device's boundary waits until it is released: register accesses, records of ring
 * reads one by one, ring writes, accesses at the data port, interrupts. 0: latencies again; release what waits before. */
void svm_hold(svm_sim *s, int on);
/* What waits, in a fixed order. Valid until the next call; n gets the number. */
const svm_held *svm_held_list(svm_sim *s, uint64_t *n);
/* Lets entry `index` of the last svm_held_list() go on, if it is ready; nothing may have run in between. */
void svm_release(svm_sim *s, uint32_t index);
/* Runs until the device's ports have not changed for `quiet` cycles or `limit` cycles are over; the cycles run.
 * Events are kept for svm_take_events(). Only where this library owns time, elsewhere 0. */
uint64_t svm_settle(svm_sim *s, uint64_t quiet, uint64_t limit);

void *svm_memory(svm_sim *s, uint64_t *bytes);
/* Log entries so far, valid until the next call that runs or resets; n gets their number. */
const svm_access *svm_accesses(svm_sim *s, uint64_t *n);
const svm_record *svm_records(svm_sim *s, uint64_t *n);
void svm_logs_reset(svm_sim *s);
void svm_get_stats(svm_sim *s, svm_stats *out);
/* Error messages so far (the first 64), one per line. */
const char *svm_errors(svm_sim *s);
/* Bytes of the data bus. */
uint32_t svm_data_bytes(svm_sim *s);

#ifdef __cplusplus
}
#endif
#endif
