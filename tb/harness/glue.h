// What a glue gives the C API: a core, and whoever owns time.
#ifndef SVM_GLUE_H
#define SVM_GLUE_H

#include <memory>

#include "core.h"

struct svm_sim {
    std::unique_ptr<svm::HarnessCore> core;
    svm::Inputs in;
    svm::Outputs out;
    virtual ~svm_sim() = default;
    // Runs until an event or n cycles; 0 where a simulator owns time.
    virtual svm::u32 run(svm::u64 n) = 0;
    virtual bool owns_time() const = 0;
    // Runs until the ports have not changed for `quiet` cycles, or `limit` cycles; the cycles run.
    virtual svm::u64 settle(svm::u64, svm::u64) { return 0; }
};

namespace svm {
// Defined by each glue; throw std::runtime_error.
svm_sim* glue_open(const svm_config& cfg);
void glue_close(svm_sim* s);
}  // namespace svm

#endif
