// In every test that runs the packet path through the laboratory (tests/support/lab.cpp): no
// allocation and no system call in it. Linked into `scenario` and `model`.
//
// Allocations: malloc and its like are defined here and count while a PathGuard lives. System
// calls: the kernel's system call dispatch (prctl PR_SET_SYSCALL_USER_DISPATCH, Linux 5.11) turns
// those made while a PathGuard lives into SIGSYS, whose handler counts. A finding fails the run at
// its end, with the name of the first test in which it was.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "support/path_guard.hpp"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
}

namespace {

struct Findings {
  std::uint64_t entered = 0;
  std::uint64_t allocations = 0;
  std::uint64_t system_calls = 0;
  int first_call = -1;
  const char* where = nullptr;  ///< the first test
};

// The tests run on one thread; DPDK's own threads make system calls as they like: dispatch is per
// thread, and so is the count.
constinit thread_local bool inside = false;
Findings found;
constexpr volatile unsigned char kAllow = 0, kBlock = 1;
volatile unsigned char selector = kAllow;

void note(std::uint64_t& counter) {
  ++counter;
  if (found.where != nullptr) return;
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  found.where = test == nullptr ? "?" : test->name();
}

void allocates() {
  if (inside) [[unlikely]]
    note(found.allocations);
}

void enter() {
  ++found.entered;
  inside = true;
  selector = kBlock;
}
void leave() {
  selector = kAllow;
  inside = false;
}

/// The call is not made: it fails with ENOSYS, and the next ones are let through until the path has
/// been left, so that the handler can return.
void refused_call(int, siginfo_t* info, void* context) {
  selector = kAllow;
  if (found.first_call < 0) found.first_call = info->si_syscall;
  note(found.system_calls);
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
}

class Interposed : public testing::Environment {
 public:
  void SetUp() override {
    struct sigaction action{};
    action.sa_sigaction = refused_call;
    action.sa_flags = SA_SIGINFO;
    ASSERT_EQ(sigaction(SIGSYS, &action, nullptr), 0);
    ASSERT_EQ(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0UL, 0UL, &selector), 0)
        << "this kernel cannot tell system calls apart by where they are made (Linux 5.11 can): "
        << std::strerror(errno);
    lsn::test::PathGuard::watcher = {enter, leave};
  }
  void TearDown() override {
    EXPECT_EQ(found.allocations, 0u) << "in the packet path, first in " << found.where;
    EXPECT_EQ(found.system_calls, 0u)
        << "in the packet path, first number " << found.first_call << " in " << found.where;
  }
};

[[maybe_unused]] const testing::Environment* const registered =
    testing::AddGlobalTestEnvironment(new Interposed);

/// Both guards work: each reports an offence in the packet path.
TEST(Guards, SeeAnAllocationInThePacketPath) {
  const Findings before = found;
  {
    const lsn::test::PathGuard guard;
    void* volatile memory = std::malloc(100);
    std::free(memory);
    // Not an expression, which the compiler may leave out.
    ::operator delete(::operator new(4));
  }
  EXPECT_EQ(found.allocations - before.allocations, 4u);
  EXPECT_EQ(found.system_calls, before.system_calls);
  found = before;
}

TEST(Guards, SeeASystemCallInThePacketPath) {
  const Findings before = found;
  long answer = 0;
  {
    const lsn::test::PathGuard guard;
    answer = syscall(SYS_getppid);
  }
  EXPECT_EQ(answer, -1);
  EXPECT_EQ(found.system_calls - before.system_calls, 1u);
  EXPECT_EQ(found.first_call, SYS_getppid);
  EXPECT_EQ(syscall(SYS_getppid), getppid()) << "outside of it the kernel answers";
  found = before;
}

}  // namespace

extern "C" {
void* malloc(std::size_t size) {
  allocates();
  return __libc_malloc(size);
}
void* calloc(std::size_t n, std::size_t size) {
  allocates();
  return __libc_calloc(n, size);
}
void* realloc(void* old, std::size_t size) {
  allocates();
  return __libc_realloc(old, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  allocates();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  allocates();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  allocates();
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
void free(void* memory) {
  allocates();
  __libc_free(memory);
}
}
