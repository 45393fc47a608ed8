# What decides plans before anything runs: costs, the planner, the simulator.
tandem_module(planning
  SOURCES chain.cc contention.cc cost_table.cc cost_table_json.cc machine.cc measure_blocks.cc
          model_shape.cc plan_memory.cc planner.cc record.cc refine.cc replay.cc simulator.cc slice_bench.cc
          workload.cc
  DEPENDS tandem_hybrid
  TESTS chain_test.cc cost_table_test.cc machine_test.cc planner_test.cc replay_test.cc
        simulator_test.cc)
