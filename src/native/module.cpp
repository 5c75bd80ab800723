// The Python module: takes buffers, releases the GIL, and calls the table of tiers. Arguments are checked on the Python
// side, and again here only if a mistake could write outside of a buffer.
#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "environment.h"
#include "fill.h"
#include "tiers.h"

namespace nb = nanobind;
using namespace fanin;

namespace {

// Memory for a result: aligned to cache lines, so that frameworks take it without a copy, and to huge pages if it is
// large, which makes the first touch many times cheaper. Python sees it as a writable buffer of bytes.
class Memory {
  public:
    explicit Memory(size_t size) : size(size) {
        const size_t alignment = size >= huge_page ? huge_page : 64;
        if (size > PTRDIFF_MAX || posix_memalign(&data, alignment, size)) throw std::bad_alloc();
#ifdef __linux__
        // Whole pages only: the rest of another page would be wasted.
        if (size >= huge_page) madvise(data, size / huge_page * huge_page, MADV_HUGEPAGE);
#endif
    }
    ~Memory() { std::free(data); }
    Memory(const Memory&) = delete;

    void* data = nullptr;
    const size_t size;

  private:
    static constexpr size_t huge_page = 2 << 20;
};

int memory_buffer(PyObject* self, Py_buffer* view, int flags) {
    Memory& memory = *nb::inst_ptr<Memory>(nb::handle(self));
    return PyBuffer_FillInfo(view, self, memory.data, Py_ssize_t(memory.size), 0, flags);
}

PyType_Slot memory_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(memory_buffer)}, {0, nullptr}};

class Buffer {
  public:
    explicit Buffer(nb::handle object) {
        if (PyObject_GetBuffer(object.ptr(), &view, PyBUF_STRIDES | PyBUF_WRITABLE)) throw nb::python_error();
    }
    ~Buffer() { PyBuffer_Release(&view); }
    Buffer(const Buffer&) = delete;
    Py_buffer view;
};

const Kernels& kernels_of(int tier) {
    if (tier < 0 || tier >= tier_count || !tiers[tier].supported()) throw nb::value_error("no such tier on this machine");
    return *tiers[tier].kernels;
}

const KernelInfo& info_of(int kernel) {
    if (kernel < 0 || kernel >= kernel_count) throw nb::value_error("no such kernel");
    return kernel_infos[kernel];
}

KeySchedule schedule(uint64_t key) { return {uint32_t(key), uint32_t(key >> 32)}; }

Draw draw_of(uint64_t key, uint64_t counter, double scale, double origin, uint64_t minval, uint64_t span,
             const std::vector<double>& interval) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    Interval bounds = {0, 0, 1, -0.5, -infinity, infinity};
    if (interval.size() == 6) bounds = {interval[0], interval[1], interval[2], interval[3], interval[4], interval[5]};
    else if (!interval.empty()) throw nb::value_error("an interval has six numbers");
    return {{schedule(key), uint32_t(counter), uint32_t(counter >> 32)}, scale, origin, minval, span, bounds};
}

// Whether this is the thread in which Python calls the handlers of signals.
bool in_main_thread() {
    const nb::object main_thread = nb::module_::import_("threading").attr("main_thread")();
    return nb::cast<unsigned long>(main_thread.attr("ident")) == PyThread_get_thread_ident();
}

// The time without the GIL, but for the moments in which Python calls the handlers of signals that have come.
class WithoutGil : public Interruption {
  public:
    WithoutGil() : state(PyEval_SaveThread()) {}
    ~WithoutGil() override { PyEval_RestoreThread(state); }

    // Whether a handler has raised an exception, which is then Python's current one. Handlers are only called every
    // `pause`, because another thread may hold the GIL for several milliseconds.
    bool wanted() override {
        using Clock = std::chrono::steady_clock;
        if (next == Clock::time_point{}) next = Clock::now() + pause;
        if (Clock::now() < next) return false;
        PyEval_RestoreThread(state);
        const bool raised = PyErr_CheckSignals() != 0;
        state = PyEval_SaveThread();
        next = Clock::now() + pause;
        return raised;
    }

  private:
    static constexpr std::chrono::milliseconds pause{30};
    PyThreadState* state;
    std::chrono::steady_clock::time_point next{};  // no time yet: short fills need no clock
};

// Fills an array without the GIL. An exception of a signal's handler ends the fill, and comes out of it.
void fill_or_raise(const Array& array, const Kernels& kernels, int kernel, const Draw& draw, int threads, int64_t elements) {
    constexpr int64_t few = 1 << 18;  // elements, which no kernel needs more than 50 ms for
    const bool interruptible = elements > few && in_main_thread();
    bool whole;
    {
        WithoutGil unlocked;
        const DefaultFloatEnvironment environment;  // helpers inherit it
        whole = fill(array, kernels, kernel, draw, threads, interruptible ? &unlocked : nullptr);
    }
    if (!whole) throw nb::python_error();
}

// Fills a buffer with elements of a stream. `index_strides` has the stride of the flat index along each axis.
void fill_buffer(nb::handle out, int tier, int kernel, uint64_t key, uint64_t counter, double scale, double origin,
                 uint64_t minval, uint64_t span, int threads, uint64_t first_index,
                 const std::vector<uint64_t>& index_strides, const std::vector<double>& interval) {
    const Kernels& kernels = kernels_of(tier);
    const KernelInfo& info = info_of(kernel);
    const Draw draw = draw_of(key, counter, scale, origin, minval, span, interval);
    const Buffer buffer(out);
    const Py_buffer& view = buffer.view;
    if (view.itemsize != info.item_size) throw nb::value_error("the buffer's items do not fit the kernel");
    if (size_t(view.ndim) != index_strides.size()) throw nb::value_error("the buffer's rank does not fit the strides");
    if (index_strides.size() > max_rank) throw nb::value_error("the buffer's rank is too high");
    Array array = {static_cast<char*>(view.buf), view.itemsize, first_index, {}};
    for (int i = 0; i < view.ndim; ++i) array.axes.push_back({view.shape[i], view.strides[i], index_strides[size_t(i)]});
    fill_or_raise(array, kernels, kernel, draw, threads, view.len / view.itemsize);
}

// Fills all of a fresh `Memory`, from the beginning of the stream.
void fill_memory(Memory& memory, int tier, int kernel, uint64_t key, uint64_t counter, double scale, double origin,
                 uint64_t minval, uint64_t span, int threads, const std::vector<double>& interval) {
    const Kernels& kernels = kernels_of(tier);
    const int64_t item_size = info_of(kernel).item_size;
    const Draw draw = draw_of(key, counter, scale, origin, minval, span, interval);
    Array array = {static_cast<char*>(memory.data), item_size, 0, {{int64_t(memory.size) / item_size, item_size, 1}}};
    fill_or_raise(array, kernels, kernel, draw, threads, int64_t(memory.size) / item_size);
}

// Calls a function in the default floating-point environment, so that parameters computed in Python are the same, too.
nb::object undisturbed(const nb::callable& function, const nb::args& arguments) {
    const DefaultFloatEnvironment environment;
    return function(*arguments);
}

// Calls each function. None of them is a Python function, so no signal's handler runs before all have been called.
void call_all(const nb::sequence& functions) {
    const nb::tuple all(functions);
    for (nb::handle each : all) each();
}

// Calls a function; an exception that comes out of it gets the notes that are in the list then, and no signal's handler
// runs in between.
nb::object noted(const nb::list& notes, const nb::callable& function, const nb::args& arguments) {
    try {
        return function(*arguments);
    } catch (nb::python_error& error) {
        for (nb::handle note : notes) error.value().attr("add_note")(note);
        throw;
    }
}

// One block: in scalars, or by a tier's vectors (in their first lane).
nb::tuple philox_block(uint64_t counter_low, uint64_t counter_high, uint64_t key, int tier) {
    const Counter counter = {{uint32_t(counter_low), uint32_t(counter_low >> 32), uint32_t(counter_high), uint32_t(counter_high >> 32)}};
    const KeySchedule keys = schedule(key);
    const Counter words = tier < 0 ? philox(counter, keys) : kernels_of(tier).block(counter, keys);
    return nb::make_tuple(words.word[0], words.word[1], words.word[2], words.word[3]);
}

// logf, sinf or cosf (function 0, 1, 2) of all 2**23 unit floats, as float32 bytes; tier -1 asks the machine's libm.
void elementary_values(nb::handle out, int function, int tier) {
    constexpr uint32_t count = 1 << 23;
    if (function < 0 || function > 2) throw nb::value_error("no such function");
    const Buffer buffer(out);
    if (buffer.view.len != Py_ssize_t(count * sizeof(float)) || !PyBuffer_IsContiguous(&buffer.view, 'C'))
        throw nb::value_error("the buffer must hold 2**23 floats, side by side");
    float* values = static_cast<float*>(buffer.view.buf);
    if (tier >= 0) {
        kernels_of(tier).elementary(Elementary(function), 0, count, values);
        return;
    }
    for (uint32_t m = 0; m < count; ++m) {
        const float unit = float(m) * 0x1p-23f, angle = float(2 * M_PI * double(unit));
        values[m] = function == 0 ? std::log(unit < 1e-7f ? 1e-7f : unit) : function == 1 ? std::sin(angle) : std::cos(angle);
    }
}

// glibc's sincos, which TensorFlow calls. Its sine is not always that of `sin`: they differ at 0x1.ad1fb54442d18p+0, for
// one. Called through a pointer, since the compiler makes `sin` of a call whose cosine is not used.
void sine_cosine_of_libm(double angle, double* sine, double* cosine) {
#ifdef __GLIBC__
    static void (*volatile const function)(double, double*, double*) = sincos;
    function(angle, sine, cosine);
#else
    *sine = std::sin(angle);
    *cosine = std::cos(angle);
#endif
}

// log, sin or cos (function 0, 1, 2) of doubles, for arguments in [2**-63, 1) and [0, 2 pi]; tier -1 asks the machine's
// libm.
void elementary_doubles(nb::handle in, nb::handle out, int function, int tier) {
    if (function < 0 || function > 2) throw nb::value_error("no such function");
    const Buffer source(in), target(out);
    if (source.view.len != target.view.len || source.view.itemsize != sizeof(double) || target.view.itemsize != sizeof(double) ||
        !PyBuffer_IsContiguous(&source.view, 'C') || !PyBuffer_IsContiguous(&target.view, 'C'))
        throw nb::value_error("the buffers must hold as many doubles, side by side");
    const double* arguments = static_cast<const double*>(source.view.buf);
    double* values = static_cast<double*>(target.view.buf);
    const uint64_t count = uint64_t(source.view.len) / sizeof(double);
    if (tier >= 0) {
        kernels_of(tier).elementary_64(Elementary(function), arguments, count, values);
        return;
    }
    for (uint64_t i = 0; i < count; ++i) {
        double sine, cosine;
        if (function == 0) {
            values[i] = std::log(arguments[i]);
            continue;
        }
        sine_cosine_of_libm(arguments[i], &sine, &cosine);
        values[i] = function == 1 ? sine : cosine;
    }
}

}  // namespace

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);  // a framework's tensor may hold its memory until after the interpreter has ended
    m.doc() = "fanin's kernels. Private: arguments are checked on the Python side.";
    nb::class_<Memory>(m, "Memory", nb::type_slots(memory_slots)).def(nb::init<size_t>());
    nb::dict kernel_numbers;
    for (int i = 0; i < kernel_count; ++i) kernel_numbers[kernel_infos[i].name] = i;
    m.attr("KERNELS") = kernel_numbers;
    nb::dict tier_numbers;
    for (int i = 0; i < tier_count; ++i)
        if (tiers[i].supported()) tier_numbers[tiers[i].name] = i;
    m.attr("TIERS") = tier_numbers;
    const std::vector<double> unbounded;
    m.def("fill_buffer", &fill_buffer, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
          nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg("interval") = unbounded);
    m.def("fill_memory", &fill_memory, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
          nb::arg(), nb::arg(), nb::arg("interval") = unbounded);
    m.def("undisturbed", &undisturbed);
    m.def("call_all", &call_all);
    m.def("noted", &noted);
    m.def("philox", &philox_block, nb::arg(), nb::arg(), nb::arg(), nb::arg("tier") = -1);
    m.def("set_elements_per_thread", &set_elements_per_thread);
    m.def("elementary", &elementary_values);
    m.def("elementary_64", &elementary_doubles);
}
